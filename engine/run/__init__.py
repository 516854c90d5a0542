"""A *run* from its experiment to its end: put together, started, resumed, extended, finished.

`lifecycle` is its course (`resume` too; `loop.restore` rebuilds the state), `assembly` makes the
parts.  May import all but `report`, `export`,
`compare` and `cli`.
"""
