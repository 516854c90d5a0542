"""The loop over all stages: decide, hand out, collect, apply; every step one transaction.

`outcomes` says what a result does to state, tables and log; `restore` rebuilds the state on
resume.  May import every stage, and nothing that shows a run.
"""
