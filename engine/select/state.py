"""What the engine knows at a decision: the results applied so far, and what is running.

The state is rebuilt from the store on resume; what the tables do not hold (the population and
the generation) is small and saved with each step.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from genesys_engine.engine.score.finals import Finals, FinalsProgress
from genesys_engine.engine.score.fitness import (
    Reading,
    fitness_gain,
    objective_gains,
    reference_noise,
)
from genesys_engine.engine.score.noise import Noise
from genesys_engine.engine.select.confirmations import Confirmations, OpenConfirmations
from genesys_engine.engine.select.credit import Credit
from genesys_engine.engine.select.ladder import Ladder
from genesys_engine.engine.select.pool import Pool, candidates_of
from genesys_engine.engine.select.standing import Standing
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.plugins.api import Candidates


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


@dataclass(frozen=True)
class Snapshot:
    """What the tables of the store do not hold of a state."""

    members: tuple[int, ...]
    offspring: tuple[int, ...]
    generation: int
    best: int | None
    warned: tuple[str, ...]
    failures_in_a_row: int
    confirmations: OpenConfirmations = field(default_factory=OpenConfirmations)
    finals: FinalsProgress | None = None
    pinned: tuple[int, ...] = ()


class State:
    """Everything a decision may look at."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.counts = Counts()
        self.in_flight: deque[int] = deque()
        self.known: dict[str, int] = {}  # digest or fingerprint -> design
        self.standings: dict[int, Standing] = {}
        self.waiting: deque[int] = deque()  # accepted, not yet issued at rung 0
        self.climbing = [Pool() for _ in ladder.caps]  # verified here, not above
        self.members: list[int] = []  # the population that parents come from
        self.offspring: list[int] = []  # verified in this generation
        self.generation = 0
        self.reference: int | None = None
        self.reference_issued = [0] * len(ladder.caps)
        self.references: list[list[Reading]] = [[] for _ in ladder.caps]
        self.best: int | None = None
        self.confirmations = Confirmations()
        self.finals = Finals()
        self.credit = Credit()
        self.pinned: set[int] = set()  # that a person wants promoted before others
        self.warned: set[str] = set()
        self.verifications_in_flight: Counter[int] = Counter()

    def candidates(self, designs: Iterable[int]) -> Candidates:
        """Return the arrays that a selector sees, in order of design number."""
        return candidates_of([self.standings[design] for design in sorted(designs)])

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
            self.finals.gains.setdefault(design, {})[replicate] = 0.0
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

    # --- confirmation ------------------------------------------------------------------------

    def has_to_be_confirmed(self, standing: Standing) -> bool:
        """Tell whether a design must not be named yet, with what it has gained so far."""
        looked_at = self.confirmations
        if standing.trusted or looked_at.has_passed(standing.design, standing.rung):
            return False
        suspect = standing.design in looked_at.suspects
        return suspect or self.better(standing) or self._sets_record(standing)

    def question(self, design: int) -> None:
        """Put a design in question: it waits for its audit."""
        self.confirmations.waiting.append(design)
        self.place(design)

    def place(self, design: int) -> None:
        """Let a design wait to climb from the rung where it stands, if it may, and nowhere else."""
        for designs in self.climbing:
            designs.discard(design)
        standing = self.standings[design]
        stands = standing.rung >= 0 and standing.rung == standing.issued
        if stands and not self.confirmations.open(design):
            self.climbing[standing.rung].add(standing)

    def _sets_record(self, standing: Standing) -> bool:
        """Tell whether no other gain that stands at the rung of a design is as high as its own.

        The search begins with the newest, which are the best of a run, and ends at the first that
        is, so that it stays short however long the run.
        """
        rung = standing.rung
        own = standing.gains[rung]
        return not any(
            other.gains.get(rung, -math.inf) >= own and self._stands(other, rung)
            for other in reversed(self.standings.values())
            if other is not standing
        )

    def _stands(self, standing: Standing, rung: int) -> bool:
        """Tell whether a gain is not in question: an audit is of the highest rung alone, but of a
        suspect's everything."""
        if not self.confirmations.open(standing.design):
            return True
        return rung < standing.rung and standing.design not in self.confirmations.suspects

    def disqualify(self, design: int) -> list[int]:
        """Take a design out of everything; return its descendants that are in question now."""
        looked_at = self.confirmations
        looked_at.under_way.discard(design)
        looked_at.newcomers.discard(design)
        looked_at.disqualified.add(design)
        self.standings[design].withdraw()
        self.credit.disqualified(design)
        self.place(design)
        for population in (self.members, self.offspring):
            if design in population:
                population.remove(design)
        found = []
        for standing in self.standings.values():  # in order: parents before their children
            looked_at.inherit(standing.design, standing.parents)
            if standing.design in looked_at.suspects and self._is_unproven(standing):
                self.question(standing.design)
                found.append(standing.design)
        return found

    def _is_unproven(self, standing: Standing) -> bool:
        """Tell whether a design has gains that nobody has looked at, or is looking at."""
        looked_at = self.confirmations
        return bool(standing.gains) and not (
            looked_at.open(standing.design) or looked_at.has_passed(standing.design, standing.rung)
        )

    def in_good_standing(self) -> list[Standing]:
        """Return the verified designs that are not in question, in order."""
        is_open = self.confirmations.open
        return [s for s in self.standings.values() if s.gains and not is_open(s.design)]

    def ranked(self) -> list[Standing]:
        """Return the designs in good standing: highest rung first, then highest fitness."""
        return sorted(self.in_good_standing(), key=lambda s: (-s.rung, -s.fitness, s.design))

    # --- what the tables do not hold ---------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return what `restore` needs next to the tables of the store."""
        return Snapshot(
            members=tuple(self.members),
            offspring=tuple(self.offspring),
            generation=self.generation,
            best=self.best,
            confirmations=self.confirmations.snapshot(),
            finals=FinalsProgress(self.finals.entries, self.finals.seen),
            warned=tuple(sorted(self.warned)),
            failures_in_a_row=self.counts.failures_in_a_row,
            pinned=tuple(sorted(self.pinned)),
        )

    def restore(self, snapshot: Snapshot, finals: FinalsProgress) -> None:
        """Take over a snapshot, and how far its finals are."""
        self.members = list(snapshot.members)
        self.offspring = list(snapshot.offspring)
        self.generation = snapshot.generation
        self.best = snapshot.best
        self.confirmations.restore(snapshot.confirmations)
        self.finals.entries, self.finals.seen = finals.entries, finals.seen
        self.warned, self.pinned = set(snapshot.warned), set(snapshot.pinned)
        self.counts.failures_in_a_row = snapshot.failures_in_a_row


def keep(members: Sequence[int], candidates: Candidates, positions: Iterable[int]) -> list[int]:
    """Return the designs at `positions` of `candidates`, in order of their number."""
    kept = {int(candidates.design[position]) for position in positions}
    return sorted(design for design in members if design in kept)
