"""The way to language models: one gateway for every operator of a run.

gateway   asks: the model of the role, the record first, retries, caps, cancellation
attempt   one request to one model: what is sent, what is recorded
streak    equal failures in a row, which end a run
trial     one small call to the model of every role
backends  the back ends that an experiment names, and what is checked before anything is spent
ledger    the record of every reply, in the run's SQLite file
spending  what was used, by role, and the caps on it
pacing    how many requests at once and per minute
outage    since when a service has not answered
recording a ledger as a file that `replay` plays

May import `config`, `store` and what they may.
"""
