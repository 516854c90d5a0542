"""Where an accepted design stands: what it has gained, and how far it has climbed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Standing:
    """An accepted design: its gain at each rung verified, and where it stands on the ladder.

    `rung` is the highest rung verified (-1 before the first), `fitness` the mean gain, `metrics`
    the mean gain in each metric that the selector weighs next to it; they are kept up to date,
    since a selector reads them of thousands of designs.  `trusted` is a seed of the library, whose
    code is ours.
    """

    design: int
    seed: bool
    parameters: float
    flops: float
    gains: dict[int, float] = field(default_factory=dict)
    issued: int = -1
    parents: tuple[int, ...] = ()
    trusted: bool = False
    rung: int = field(init=False, default=-1)
    fitness: float = field(init=False, default=math.nan)
    metrics: dict[str, float] = field(init=False, default_factory=dict)
    _objectives: dict[int, Mapping[str, float]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._sum_up()

    def record(self, rung: int, gain: float, objectives: Mapping[str, float]) -> None:
        """Note the gain at a rung, and those in the metrics of other objectives."""
        self.gains[rung] = gain
        self._objectives[rung] = objectives
        self._sum_up()
        self.metrics = {
            name: statistics.fmean(at[name] for at in self._objectives.values())
            for name in objectives
        }

    def withdraw(self) -> None:
        """Forget every gain: the design is disqualified."""
        self.gains.clear()
        self._objectives.clear()
        self.metrics = {}
        self._sum_up()

    def _sum_up(self) -> None:
        self.rung = max(self.gains, default=-1)
        self.fitness = statistics.fmean(self.gains.values()) if self.gains else math.nan
