"""What a run looks like: pure functions from the store or the event log to plain data.

The command line, the live progress and the report show the same numbers because all three take
them from here.  Nothing in this package formats, prints or writes.

    run          the run as its events tell it, folded one by one (live, or from the log)
    leaderboard  the verified designs, best first, with controls and the noise floor
    details      one design: tree, code, lineage, verifications, findings
    status       counts, budgets, best so far, time left
    failures     what was rejected and what failed, by cause
    timing       where the time went, by stage
    lineage      who descends from whom, laid out for drawing
    verdict      what a run has found, in words

May import `score`, `llm`, `store` and `common`; nothing that decides imports it.
"""
