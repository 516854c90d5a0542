"""What every other folder may use: randomness, texts, time left, threads, temporary folders, locks.

Nothing here knows a design or a run.  May import `gab`, `plugins`, and nothing of the engine.
"""
