"""What to do next: parents, the *ladder*, the population, whom to confirm; pure functions of state.

`policy` decides, also who climbs to the next rung and when; `state` is what it knows, `ladder`
counts what each rung may still take.  May import `common`, `store` and `score`.
"""
