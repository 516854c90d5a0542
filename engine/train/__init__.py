"""Half of a *verification*: where its training runs, and what is kept of one that has ended.

The training itself is a plugin, `plugins/trainers/`.  May import `common` and `jobs`.
"""
