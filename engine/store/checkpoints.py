"""Where a run keeps the weights of its verifications."""

from __future__ import annotations

CHECKPOINTS = "checkpoints"  # folder of a run


def checkpoint_name(design: int, rung: int, replicate: int) -> str:
    """Return the file that keeps the weights of a verification, in `CHECKPOINTS`."""
    return f"design-{design}-rung-{rung}-seed-{replicate}.safetensors"
