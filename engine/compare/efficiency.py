"""How many evaluations a strategy needs: the best so far after each, and until it has caught up.

An evaluation is one training of a child, also one that failed; what was trained to measure noise or
in finals is none.  The target of a run is the best that the run of the study's first arm with the
same seed has found with all of its evaluations: both runs measure gains against the same trainings
of the reference.  A run that never gets there needed more than it has spent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from genesys_engine.engine.compare.results import FinishedRun
from genesys_engine.engine.compare.statistics import (
    SEED,
    Interval,
    MedianInterval,
    mean_interval,
    median_interval,
)

POINTS = 5
"""Numbers of evaluations at which the best so far is shown."""


@dataclass(frozen=True)
class ArmEfficiency:
    """What an arm finds with how many evaluations.

    Args:
        best_after: the mean over runs of the best so far, in percent, after `evaluations`.
        needed: by seed, evaluations until the run had caught up; None where it has not.
        ratio: the median over seeds of `needed` as a share of the evaluations of the first arm's
            run; with its interval.
        retrained: the mean gain of what the runs found, trained again with fresh seeds in their
            finals; None without finals.
    """

    arm: str
    evaluations: tuple[int, ...]
    best_after: tuple[float, ...]
    needed: Mapping[str, int | None]
    ratio: MedianInterval | None
    retrained: float | None
    retrained_interval: Interval | None


def efficiency(arms: Mapping[str, Mapping[str, FinishedRun]]) -> tuple[ArmEfficiency, ...]:
    """Return the efficiency of each arm, its runs given by seed; the first arm sets the targets.

    () where a study of an earlier version did not count evaluations.
    """
    runs = [run for own in arms.values() for run in own.values()]
    if not runs or not all(run.evaluations for run in runs):
        return ()
    longest = max(spent(run) for run in runs)
    points = tuple(sorted({max(1, longest * i // POINTS) for i in range(1, POINTS + 1)}))
    targets = next(iter(arms.values()))
    return tuple(_arm(name, own, targets, points) for name, own in arms.items())


def spent(run: FinishedRun) -> int:
    """Return the evaluations of a run."""
    return run.evaluations[-1]


class Curve(Protocol):
    """The best so far of a run, after each of its evaluations."""

    @property
    def evaluations(self) -> tuple[int, ...]:
        """Evaluations up to each point; they never fall."""

    @property
    def best_so_far(self) -> tuple[float, ...]:
        """The best so far at each point, in percent."""


def best_after(run: Curve, evaluations: int) -> float:
    """Return the best so far after so many evaluations; a run that has ended keeps its best."""
    return run.best_so_far[bisect_right(run.evaluations, evaluations) - 1]


def evaluations_to(run: FinishedRun, target: float) -> int | None:
    """Return after how many evaluations a run had found `target`, None if it never has."""
    points = zip(run.evaluations, run.best_so_far, strict=True)
    return next((count for count, best in points if best >= target), None)


def _arm(
    name: str,
    runs: Mapping[str, FinishedRun],
    targets: Mapping[str, FinishedRun],
    points: Sequence[int],
) -> ArmEfficiency:
    shared = sorted(runs.keys() & targets.keys())
    needed = {seed: evaluations_to(runs[seed], targets[seed].best) for seed in shared}
    ratios = [_ratio(needed[seed], spent(targets[seed])) for seed in shared]
    retrained = [run.retrained for run in runs.values() if run.retrained is not None]
    means = [_mean([best_after(run, at) for run in runs.values()]) for at in points]
    return ArmEfficiency(
        name,
        tuple(points),
        tuple(means) if runs else (),
        needed,
        median_interval(ratios),
        _mean(retrained) if retrained else None,
        mean_interval(retrained, SEED),
    )


def _ratio(needed: int | None, of: int) -> float:
    return math.inf if needed is None else needed / max(1, of)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
