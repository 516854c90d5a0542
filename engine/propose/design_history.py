"""What a run knows of one design: its results, its findings, and what was tried on it so far.

Operators ask for it, so it may enter a decision.  A `Sight` limits it to what had been applied
when the task of the one who asks was issued: it depends on that alone, whatever else the run has
meanwhile, and a design that is made again after a crash is shown what it was shown.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.jobs.tasks import DesignTask
from genesys_engine.engine.propose.attempts import findings_of, first_line, outcome_of
from genesys_engine.engine.score import noise_floor, standing
from genesys_engine.engine.score.fitness import Measure, metric_value
from genesys_engine.engine.score.noise import gain_sigmas
from genesys_engine.engine.store.event_types import DesignAbandoned
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store, VerificationRow
from genesys_engine.plugins.api import History, RungResult, Tried

NO_IDEA = ("proposal.", "llm.")
"""How the codes begin of designs that were abandoned with no idea to tell."""


@dataclass(frozen=True)
class Sight:
    """How far a design task sees: all designs, verifications and tasks with smaller numbers."""

    designs: int
    verifications: int
    tasks: int

    @classmethod
    def of(cls, task: DesignTask) -> Sight:
        """Return the sight of a task; one that an older version issued sees less."""
        return cls(task.known_before, task.verified_before or 0, task.applied_before or 0)


@dataclass(frozen=True)
class _Child:
    """A design, or (`design` is None) what an operator gave up for the reason `change`."""

    seq: int
    design: int | None
    change: str = ""
    code: str = ""

    def order(self) -> tuple[int, float]:
        """Sort by task, then by design; what was abandoned ended its task."""
        return self.seq, math.inf if self.design is None else self.design


class DesignHistories:
    """Tells the histories of a run's designs; ask from one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scales = scale_names(store)
        experiment = store.meta("experiment")
        metric = experiment["fitness"]["metric"]
        self._metrics: Sequence[str] = [metric] if isinstance(metric, str) else metric
        self._measure = Measure.of(experiment["fitness"])
        self._seed = "seed:" + experiment["population"]["reference"]
        self._reference: int | None = None
        self._children: dict[int, list[_Child]] = defaultdict(list)
        self._designs_read, self._events_read = -1, 0

    def of(self, design: int, limit: int, sight: Sight) -> History:
        """Return the history of `design`, with at most `limit` of what was tried on it."""
        self._refresh()
        if not 0 <= design < sight.designs:
            return History()
        known = [c for c in self._children[design] if _is_seen(c, sight)]
        newest = sorted(known, key=_Child.order, reverse=True)[:limit]
        return History(
            self._results(design, sight),
            tuple(findings_of(self._store, design)),
            tuple(self._tried(child, sight) for child in newest),
        )

    def _refresh(self) -> None:
        """Note who descends from whom among the designs and events that have come since."""
        for row in self._store.designs(after=self._designs_read):
            self._designs_read = row.id
            if self._reference is None and row.accepted and row.operator == self._seed:
                self._reference = row.id
            for parent in row.parents:
                self._children[parent].append(_Child(row.seq, row.id))
        for event in self._store.events(after=self._events_read):
            self._events_read = event.id
            if isinstance(given_up := event.record, DesignAbandoned):
                self._note_abandoned(given_up)

    def _note_abandoned(self, given_up: DesignAbandoned) -> None:
        if given_up.code.startswith(NO_IDEA):
            return
        for parent in given_up.parents:
            child = _Child(given_up.seq, None, given_up.reason, given_up.code)
            self._children[parent].append(child)

    # --- results -----------------------------------------------------------------------------

    def _results(self, design: int, sight: Sight) -> tuple[RungResult, ...]:
        own = {row.rung: row for row in self._seen(design, sight) if row.replicate == 0}
        references = [] if self._reference is None else self._seen(self._reference, sight)
        floor = noise_floor.noise_of_reference(references, len(self._scales), self._measure)
        sigmas = gain_sigmas(floor)
        found = []
        for rung, row in sorted(own.items()):
            reason = " ".join(first_line(row.reason).split())
            same_rung = [r for r in references if r.rung == rung and design != self._reference]
            within = _is_noise(row.fitness, sigmas[rung])
            scores = self._scores(row, same_rung)
            found.append(RungResult(self._scales[rung], row.fitness, within, scores, reason))
        return tuple(found)

    def _seen(self, design: int, sight: Sight) -> list[VerificationRow]:
        """Return the verifications that rank a design, as far as they are seen."""
        rows = self._store.verifications(design)
        return [v for v in rows if v.id < sight.verifications and not is_fresh(v.replicate)]

    def _scores(
        self, row: VerificationRow, references: Iterable[VerificationRow]
    ) -> dict[str, tuple[float, float | None]]:
        """Return the scores next to the mean of the reference's; of a group its mean only."""
        names = [*self._metrics, *(name for name in row.scores if "/" not in name)]
        values = {name: metric_value(row.scores, name) for name in dict.fromkeys(names)}
        found = {}
        for name, value in values.items():
            if value is not None:
                others = [metric_value(other.scores, name) for other in references]
                known = [other for other in others if other is not None]
                found[name] = (value, statistics.fmean(known) if known else None)
        return found

    # --- what was tried on it ----------------------------------------------------------------

    def _tried(self, child: _Child, sight: Sight) -> Tried:
        if child.design is None:
            return Tried(child.change, "abandoned", f"given up: {child.code}")
        row = self._store.design(child.design)
        findings = () if row.accepted else findings_of(self._store, row.id)
        seen = self._seen(row.id, sight)
        out = self._store.disqualification(row.id, before=sight.tasks)
        outcome, summary, _, _ = outcome_of(row, findings, seen, self._scales, out)
        return Tried(row.change, outcome, " ".join(summary.split()), row.id)


def _is_seen(child: _Child, sight: Sight) -> bool:
    if child.design is None:
        return child.seq < sight.tasks
    return child.design < sight.designs


def _is_noise(gain: float | None, sigma: float | None) -> bool | None:
    """Tell whether a gain is within the noise; None where one of them is not known."""
    if gain is None or sigma is None:
        return None
    return standing.standing(gain, sigma) == standing.NO_DIFFERENCE
