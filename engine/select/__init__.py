"""What to do next: parents, the *ladder*, the population, whom to confirm; pure functions of state.

`policy` decides, `state` is what it knows.  May import `common`, `store` and `score`.
"""
