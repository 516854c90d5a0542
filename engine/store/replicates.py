"""Replicates: the training seeds of one design at one rung, and which of them are of the finals."""

from __future__ import annotations

FRESH = 1000
"""The first `replicate` of a verification that is fresh; those below rank the designs."""


def is_fresh(replicate: int) -> bool:
    """Tell whether a verification belongs to the finals."""
    return replicate >= FRESH
