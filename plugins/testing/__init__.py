"""What the author of a plugin tests with.

* `recorded.RecordedExecutor` answers checks and verifications from a hash of the block instead
  of training it: it studies the engine's loop, never a design.
"""
