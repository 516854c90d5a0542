"""Where designs come from: operators asked away from the loop, and what they may look up.

`designer` draws children until one is new and passes its check.  The operators themselves are in
`operators/`.  May import `check`, `llm`, `config`, `score`, `jobs`, `store` and `common`.
"""
