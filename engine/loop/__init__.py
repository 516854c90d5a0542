"""The loop over all stages: decide, hand out, collect, apply; every step one transaction.

`transitions` says what a record does to the state, live and when a run is resumed (`restore`);
`outcomes` writes what a result does to tables and log.  May import every stage, and nothing that
shows a run.
"""
