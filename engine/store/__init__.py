"""The *run* on disk: tables, event log, curves, samples, backup and the names of its designs.

Decisions write through it, everything that shows a run reads it.  May import `common` and `jobs`.
"""
