"""The *verification* of a design: its training and then its evaluation, each in a worker.

`verifier` sends them out; `noise_cache` shares those of the reference between runs.  The
evaluators are plugins, `plugins/evaluators/`.  May import `train`, `jobs`, `store` and `common`.
"""
