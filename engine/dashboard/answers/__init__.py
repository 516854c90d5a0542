"""The JSON of every view of the dashboard, from the records of `engine.views`."""
