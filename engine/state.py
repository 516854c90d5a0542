"""What the engine knows at a decision: the results applied so far, and what is under way.

The state is rebuilt from the store on resume; what the tables do not hold (the population and
the generation) is small and saved with each step.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genesys_engine.engine.finals import Finals, is_fresh
from genesys_engine.engine.fitness import Reading, fitness_gain, objective_gains, reference_noise
from genesys_engine.engine.ladder import Ladder
from genesys_engine.engine.significance import Noise
from genesys_engine.plugins.api import Candidates


@dataclass(slots=True)
class Standing:
    """An accepted design: its gain at each rung verified, and where it stands on the ladder.

    `rung` is the highest rung verified (-1 before the first), `fitness` the mean gain, `metrics`
    the mean gain in each metric that the selector weighs beside it; they are kept up to date,
    since a selector reads them of thousands of designs.
    """

    design: int
    seed: bool
    parameters: float
    flops: float
    gains: dict[int, float] = field(default_factory=dict)
    issued: int = -1
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

    def _sum_up(self) -> None:
        if self.gains:
            self.rung = max(self.gains)
            self.fitness = statistics.fmean(self.gains.values())


@dataclass
class Counts:
    """What has been issued and applied, by kind of task."""

    next_seq: int = 0
    next_design: int = 0
    next_verification: int = 0
    seeds_issued: int = 0
    accepted: int = 0
    children_accepted: int = 0
    designs_in_flight: int = 0
    children_in_flight: int = 0
    variations_issued: int = 0
    failures_in_a_row: int = 0


class State:
    """Everything a decision may look at."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.counts = Counts()
        self.in_flight: deque[int] = deque()
        self.known: dict[str, int] = {}  # digest or fingerprint -> design
        self.standings: dict[int, Standing] = {}
        self.waiting: deque[int] = deque()  # accepted, not yet issued at rung 0
        self.climbing: list[set[int]] = [set() for _ in ladder.caps]  # verified here, not above
        self.members: list[int] = []  # the population that parents come from
        self.offspring: list[int] = []  # verified in this generation
        self.generation = 0
        self.reference: int | None = None
        self.reference_issued = [0] * len(ladder.caps)
        self.references: list[list[Reading]] = [[] for _ in ladder.caps]
        self.best: int | None = None
        self.finals = Finals()
        self.warned: set[str] = set()
        self.verifications_in_flight: Counter[int] = Counter()

    def candidates(self, designs: Iterable[int]) -> Candidates:
        """Return the arrays that a selector sees, in order of design number."""
        rows = [self.standings[design] for design in sorted(designs)]
        return Candidates(
            design=np.array([row.design for row in rows], dtype=np.int64),
            fitness=np.array([row.fitness for row in rows], dtype=np.float64),
            confidence=np.array([len(row.gains) for row in rows], dtype=np.float64),
            parameters=np.array([row.parameters for row in rows], dtype=np.float64),
            flops=np.array([row.flops for row in rows], dtype=np.float64),
            metrics={
                name: np.array([row.metrics[name] for row in rows], dtype=np.float64)
                for name in (rows[0].metrics if rows else ())
            },
        )

    def measure(
        self, reading: Reading, design: int, rung: int, replicate: int
    ) -> tuple[float, Mapping[str, float]] | None:
        """Return (gain, gains in other objectives) of a verification that ranks designs or is of
        the finals; None where the reference failed with the fresh seed of a finalist.

        A reading of the reference is kept: what comes later is measured against it.
        """
        of_reference = design == self.reference
        if is_fresh(replicate):
            return self._measure_fresh(reading, design, replicate, of_reference=of_reference)
        references = self.references[rung]
        if of_reference:
            references.append(reading)
        # The reference is verified first at every rung; its own runs are compared to the first.
        against = references[:1] if of_reference else references
        return fitness_gain(reading, against), objective_gains(reading, against)

    def _measure_fresh(
        self, reading: Reading, design: int, replicate: int, *, of_reference: bool
    ) -> tuple[float, Mapping[str, float]] | None:
        """Measure against the reference with the same fresh seed; see `measure`."""
        if of_reference:
            self.finals.references[replicate] = reading
            return 0.0, {}
        if (against := self.finals.references.get(replicate)) is None:
            return None
        gained = fitness_gain(reading, [against])
        self.finals.gains.setdefault(design, {})[replicate] = gained
        return gained, {}

    def noise(self) -> list[Noise | None]:
        """Return the noise of training at each rung, as far as it is known."""
        return reference_noise(self.references)

    def better(self, standing: Standing) -> bool:
        """Tell whether `standing` leads: a higher rung first, then a higher fitness."""
        if self.best is None:
            return True
        best = self.standings[self.best]
        return (standing.rung, standing.fitness) > (best.rung, best.fitness)

    # --- what the tables do not hold ---------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return what `restore` needs beside the tables of the store."""
        return {
            "members": self.members,
            "offspring": self.offspring,
            "generation": self.generation,
            "best": self.best,
            "finalists": list(self.finals.designs),
            "warned": sorted(self.warned),
            "failures_in_a_row": self.counts.failures_in_a_row,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self.members = list(snapshot["members"])
        self.offspring = list(snapshot["offspring"])
        self.generation = snapshot["generation"]
        self.best = snapshot["best"]
        self.finals.designs = tuple(snapshot.get("finalists", ()))
        self.warned = set(snapshot["warned"])
        self.counts.failures_in_a_row = snapshot["failures_in_a_row"]


def keep(members: Sequence[int], candidates: Candidates, positions: Iterable[int]) -> list[int]:
    """Return the designs at `positions` of `candidates`, in order of their number."""
    kept = {int(candidates.design[position]) for position in positions}
    return sorted(design for design in members if design in kept)
