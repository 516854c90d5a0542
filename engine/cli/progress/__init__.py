"""Progress: of a run, from its events alone, and of any other work whose size is known."""
