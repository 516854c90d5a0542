"""Curves of running trials: copied from their folders into the run's array now and then.

Trials take minutes to hours, and whoever looks at a run wants to see where its losses are going.
A trial's row is known before its result is: verifications are numbered in the order of issue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from genesys_engine.engine.store.curves import Curve, Curves

EVERY_S = 10.0


class LiveCurves:
    """Looks at running trials at most every `every_s` seconds.

    Args:
        curves: where they are shown.
        read: gives the curve so far of the trial of a task.
    """

    def __init__(
        self, curves: Curves, read: Callable[[int], Curve], every_s: float = EVERY_S
    ) -> None:
        self._curves = curves
        self._read = read
        self._every_s = every_s
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() - self._last >= self._every_s

    def show(self, trials: Iterable[tuple[int, int]]) -> None:
        """Copy the curves of `trials`: pairs of a task and the verification it will be."""
        for seq, verification in trials:
            if curve := self._read(seq):
                self._curves.show(verification, curve)
        self._last = time.monotonic()
