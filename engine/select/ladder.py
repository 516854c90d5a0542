"""The ladder of scales: how many verifications each rung may still take.

Each rung has a hard cap.  With `gradual` release an upper rung opens in proportion to how far
the rung below is used up, as published (arXiv 2506.20249, appendix); with `halving` it opens
when the rung below is used up, so that the best of all climb (successive halving, Jamieson and
Talwalkar 2016).  Who climbs, and when, is decided in `policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class Ladder:
    """Counts the verifications issued per rung and tells where another one is allowed."""

    def __init__(self, caps: Sequence[int], release: Literal["gradual", "halving"]) -> None:
        self.caps = tuple(caps)
        self.release = release
        self.used = [0] * len(self.caps)

    def free(self, rung: int, *, supply_ended: bool) -> int:
        """Return how many more verifications `rung` may take now.

        `supply_ended`: nothing more will reach the rung below, so what is left is released.
        """
        cap = self.caps[rung]
        if rung > 0:
            below, cap_below = self.used[rung - 1], self.caps[rung - 1]
            if not (supply_ended or below >= cap_below):
                cap = cap * below // cap_below if self.release == "gradual" else 0
        return max(0, cap - self.used[rung])

    def spend(self, rung: int) -> None:
        """Count one verification, issued."""
        if self.used[rung] >= self.caps[rung]:
            raise AssertionError(f"rung {rung} is used up")
        self.used[rung] += 1
