"""What crosses between stages, and between the engine and its isolated workers.

`tasks` are decided; `results` come of them, each in a `task_result` with the facts of its machine.
`worker_jobs` are sent, and `replies` held to schemas: nothing that a worker says is believed before
it fits.  `scores`, `design_report` and `facts` are what results are made of.  May import `common`.
"""
