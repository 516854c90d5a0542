"""What crosses between the engine and its isolated workers: replies held to schemas, results.

Nothing that a worker says is believed before it fits.  May import `common`.
"""
