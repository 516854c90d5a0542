"""Designs that wait at a rung, as the arrays that a selector sees.

Thousands wait at the lowest rung of a long run, and whoever climbs is chosen from all of them: a
design is written down when it begins to wait, and not read again at every choice.  What it has
gained does not change while it waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genesys_engine.plugins.api import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesys_engine.engine.select.standing import Standing

_ROOM = 64  # designs that a pool has room for at first


class Pool:
    """A set of designs with their figures: a column by number of the design, a row by figure."""

    def __init__(self) -> None:
        self._waits = np.zeros(_ROOM, dtype=np.bool_)
        self._figures = np.zeros((0, _ROOM))
        self._metrics: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether any design waits."""
        return bool(self._waits.any())

    def __contains__(self, design: int) -> bool:
        """Tell whether a design waits."""
        return design < len(self._waits) and bool(self._waits[design])

    def __eq__(self, other: object) -> bool:
        """Tell whether the same designs wait with the same figures."""
        if not isinstance(other, Pool):
            return NotImplemented
        ours, theirs = self._waits.nonzero()[0], other._waits.nonzero()[0]
        return np.array_equal(ours, theirs) and np.array_equal(
            self._figures[:, ours], other._figures[:, theirs]
        )

    __hash__ = None  # type: ignore[assignment]

    def add(self, standing: Standing) -> None:
        """Let a design wait, with what it has gained so far."""
        figures = _figures(standing)
        self._make_room(len(figures), standing.design + 1)
        self._metrics = tuple(standing.metrics)
        self._figures[:, standing.design] = figures
        self._waits[standing.design] = True

    def discard(self, design: int) -> None:
        """Let a design wait no longer, if it does."""
        if design in self:
            self._waits[design] = False

    def candidates(self) -> Candidates:
        """Return the designs, in the order of their numbers."""
        designs = self._waits.nonzero()[0]
        return _candidates(designs, self._figures[:, designs], self._metrics)

    def _make_room(self, rows: int, designs: int) -> None:
        had, room = self._figures.shape
        while room < designs:
            room *= 2
        if (rows, room) != (had, len(self._waits)):
            more = room - len(self._waits)
            self._waits = np.pad(self._waits, (0, more))
            self._figures = np.pad(self._figures, ((0, rows - had), (0, more)))


def candidates_of(standings: Sequence[Standing]) -> Candidates:
    """Return designs, given in the order of their numbers, as a selector sees them."""
    designs = np.array([standing.design for standing in standings], dtype=np.int64)
    metrics = tuple(standings[0].metrics) if standings else ()
    figures = np.empty((4 + len(metrics), len(standings)))
    for column, standing in enumerate(standings):
        figures[:, column] = _figures(standing)
    return _candidates(designs, figures, metrics)


def _figures(standing: Standing) -> tuple[float, ...]:
    confidence = len(standing.gains)
    own = (standing.fitness, confidence, standing.parameters, standing.flops)
    return (*own, *standing.metrics.values())


def _candidates(
    designs: NDArray[np.int64], figures: NDArray[np.float64], metrics: tuple[str, ...]
) -> Candidates:
    if not len(figures):  # of a pool that never had a design
        figures = np.zeros((4, 0))
    fitness, confidence, parameters, flops = figures[:4]
    gains = dict(zip(metrics, figures[4:], strict=True))
    return Candidates(designs, fitness, confidence, parameters, flops, gains)
