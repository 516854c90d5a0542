"""The loss curve of a trial while it trains: a small file next to the checkpoint.

The file holds pairs of float64 in the machine's byte order, (tokens seen, loss in nats per token),
and is replaced atomically, so that readers see one moment.  The trial's process writes it, so the
engine treats it as something that a candidate's code could have written.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.sandbox.scratch import read_plain

LIVE_CURVE = "curve.f64"
CURVE_POINTS = 200
EVERY_S = 5.0
POINT_BYTES = 16
MOST_TOKENS = 2**53  # what a float64 counts without gaps

Curve = Sequence[tuple[float, float]]


class LiveCurve:
    """Keeps the curve of one trial in `folder`, written at most every `every_s` seconds."""

    def __init__(self, folder: Path, every_s: float = EVERY_S) -> None:
        self._path = folder / LIVE_CURVE
        self._every_s = every_s
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to write it again."""
        return time.monotonic() - self._last >= self._every_s

    def write(self, curve: Curve) -> None:
        """Replace the file by `curve`; of one without points nothing is reported."""
        if not curve:
            return
        partial = self._path.with_name(LIVE_CURVE + ".partial")
        partial.write_bytes(array("d", [number for point in curve for number in point]).tobytes())
        partial.replace(self._path)
        self._last = time.monotonic()


def read_live_curve(folder: Path) -> list[tuple[float, float]]:
    """Return the curve in a trial's folder so far; empty if there is no valid one.

    A file that no trainer would write is ignored.
    """
    try:
        raw = read_plain(folder / LIVE_CURVE, CURVE_POINTS * POINT_BYTES)
    except InputError:
        return []
    numbers = array("d", raw[: len(raw) - len(raw) % POINT_BYTES])
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    good = all(0 <= tokens < MOST_TOKENS and math.isfinite(loss) for tokens, loss in points)
    return points if good else []
