"""The summary of an evolution study: means over seeds, and comparisons of arms.

A run that found nothing counts: the reference still leads (see `series_of`), so its best and its
area are 0.  Measures that such a run lacks, like the mean of its designs, are averaged over the
other runs; the table gives their number.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from genesys_engine.engine.common import records
from genesys_engine.engine.compare.efficiency import ArmEfficiency, efficiency
from genesys_engine.engine.compare.evolution import items
from genesys_engine.engine.compare.results import FinishedRun, Result, Used
from genesys_engine.engine.compare.statistics import (
    SEED,
    Comparison,
    Interval,
    compared,
    mean_interval,
    paired_means,
    rate_interval,
)
from genesys_engine.engine.compare.tables import Table
from genesys_engine.engine.config.schema import CompareArm, CompareSection

COMPARED = {
    "best": "best fitness",
    "mean": "mean fitness",
    "area": "area under the best so far",
}
Runs = Mapping[str, FinishedRun]
"""The runs of an arm by item."""


@dataclass(frozen=True)
class RunMeasures:
    """One run of an arm; `mean` is None without a design, `area` where nothing was spent."""

    item: str
    costs: tuple[int, ...]
    evaluations: tuple[int, ...]
    best_so_far: tuple[float, ...]
    generations: tuple[float, ...]
    best: float
    mean: float | None
    area: float | None

    def measure(self, name: str) -> float | None:
        """Return one of `COMPARED`."""
        value: float | None = getattr(self, name)
        return value


@dataclass(frozen=True)
class MeanUse(Used):
    """Mean usage per run of an arm."""

    training_tokens: float | None


@dataclass(frozen=True)
class ArmRuns:
    """An arm, with `n` of `planned` runs: means, the runs that have each measure, intervals."""

    arm: str
    n: int
    planned: int
    valid_rate: float | None
    valid_interval: Interval | None
    used: MeanUse
    device: tuple[str, ...]
    caps: Mapping[str, int]
    means: Mapping[str, float | None]
    known: Mapping[str, int]
    intervals: Mapping[str, Interval | None]
    runs: tuple[RunMeasures, ...]


@dataclass(frozen=True)
class EvolutionSummary:
    """The summary of an evolution study; areas extend to a cost of `until_tokens`.

    `efficiency` is () for a study of an earlier version, which did not count evaluations.
    `tables` are added by plugins.
    """

    name: str
    study: str
    simulation: bool
    until_tokens: int
    complete: bool
    arms: tuple[ArmRuns, ...]
    comparisons: tuple[Comparison, ...]
    efficiency: tuple[ArmEfficiency, ...] = ()
    tables: tuple[Table, ...] = ()

    def with_tables(self, tables: Sequence[Table]) -> EvolutionSummary:
        """Return the summary with further tables, those of plugins."""
        return replace(self, tables=(*self.tables, *tables))

    def to_json(self) -> dict[str, object]:
        """Return the answer of `compare --json`."""
        return records.to_json(self)


def summarise_runs(
    section: CompareSection, results: Sequence[Result[FinishedRun]], *, name: str = ""
) -> EvolutionSummary:
    """Return the summary of the study called `name`."""
    wanted = items(section)
    own = {
        arm.name: {r.item: r.made for r in results if r.arm == arm.name and r.item in wanted}
        for arm in section.arms
    }
    # One run may fail early: areas go up to the largest cost, a run that has ended keeps its best.
    until = max((run.spent for runs in own.values() for run in runs.values()), default=0)
    arms = tuple(_arm(arm, own[arm.name], len(wanted), until) for arm in section.arms)
    complete = all(arm.n == arm.planned for arm in arms)
    comparisons = _comparisons(section, {arm.arm: arm.runs for arm in arms})
    summary = EvolutionSummary(name, "evolution", False, until, complete, arms, comparisons)
    return replace(summary, efficiency=efficiency(own))


def _arm(arm: CompareArm, runs: Runs, planned: int, until: float) -> ArmRuns:
    measured = tuple(_measured(item, run, until) for item, run in sorted(runs.items()))
    columns = {
        key: [value for each in measured if (value := each.measure(key)) is not None]
        for key in COMPARED
    }
    made = sum(run.made for run in runs.values())
    # Children of one run descend from each other: runs are drawn, not children.
    children = [(run.valid, run.made) for run in runs.values()]
    return ArmRuns(
        arm=arm.name,
        n=len(runs),
        planned=planned,
        valid_rate=sum(run.valid for run in runs.values()) / made if made else None,
        valid_interval=rate_interval(children, SEED),
        used=_mean_use(list(runs.values())),
        device=tuple(sorted({device for run in runs.values() for device in run.device})),
        caps=dict(Counter(run.cap for run in runs.values() if run.cap)),
        means={key: fmean(values) if values else None for key, values in columns.items()},
        known={key: len(values) for key, values in columns.items()},
        intervals={key: mean_interval(values, SEED) for key, values in columns.items()},
        runs=measured,
    )


def _mean_use(runs: Sequence[FinishedRun]) -> MeanUse:
    return MeanUse(
        llm_tokens=_mean_known([run.used.llm_tokens for run in runs]),
        llm_usd=_mean_known([run.used.llm_usd for run in runs]),
        device_s=_mean_known([run.used.device_s for run in runs]),
        wall_s=_mean_known([run.used.wall_s for run in runs]),
        training_tokens=_mean_known([run.spent for run in runs]),
    )


def _mean_known(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if there are no values or one is unknown."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _measured(item: str, run: FinishedRun, until: float) -> RunMeasures:
    return RunMeasures(
        item=item,
        costs=run.costs,
        evaluations=run.evaluations,
        best_so_far=run.best_so_far,
        generations=run.generations,
        best=run.best,
        mean=run.mean,
        area=area_under(run.costs, run.best_so_far, until),
    )


def area_under(costs: Sequence[float], best: Sequence[float], until: float) -> float | None:
    """Return the mean height of a best-so-far curve from cost 0 to the cost `until`.

    The curve is a staircase: `best[i]` holds from `costs[i]`, which never falls, to the next
    point; before the first one it is 0, as good as the reference.  None where `until` is 0.
    """
    if until <= 0:
        return None
    steps = zip(itertools.pairwise((*costs, until)), best, strict=True)
    return sum(max(0, min(end, until) - start) * height for (start, end), height in steps) / until


def _comparisons(
    section: CompareSection, measured: Mapping[str, Sequence[RunMeasures]]
) -> tuple[Comparison, ...]:
    """Return the comparison of every pair of arms, on shared seeds, for each measure."""
    runs = {arm: {run.item: run for run in found} for arm, found in measured.items()}
    found = []
    for first, second in itertools.combinations([arm.name for arm in section.arms], 2):
        both = [item for item in items(section) if item in runs[first] and item in runs[second]]
        for key, what in COMPARED.items():
            pairs = [(runs[first][i].measure(key), runs[second][i].measure(key)) for i in both]
            known = [(a, b) for a, b in pairs if a is not None and b is not None]
            difference = paired_means([a for a, _ in known], [b for _, b in known], SEED)
            found.append(compared(first, second, difference, what, measure=key, digits=2))
    return tuple(found)
