"""PyTorch as `lean_torch` leaves it, with every shape function: for who serves many checks.

They cost half a second and 16 MB, and each check counts operations on the meta device.
"""

from genesys_engine.gab.lean_torch import complete

complete()
