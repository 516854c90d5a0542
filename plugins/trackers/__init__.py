"""Built-in trackers: each copies the event log to one other system."""
