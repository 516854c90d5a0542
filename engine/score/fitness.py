"""Fitness: the gain over the reference design, in percent, at the same rung.

The paper's F(B) is a mean over tasks and scales (arXiv 2506.20249, section 2).  Bits per byte
differ far more between rungs than between designs, so a plain mean over rungs would reward
whoever was verified higher up.  Each rung is therefore measured against the reference design
(the first seed) trained there with the same data, tokens and seed; the design's fitness is the
mean of its gains (`select.state.Standing`).  The reference itself has fitness 0.

A gain is a share of a `unit`: of the reference's own score, or of what training has gained it over
the same model untrained, whose weights are random.  Over several metrics it is the plain mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deap import base

from genesys_engine.engine.common.records import from_json
from genesys_engine.engine.jobs.scores import Controls, Scores
from genesys_engine.engine.score.noise import Noise, noise_by_rung

ACCURACY = "accuracy"
REFERENCE, UNTRAINED = "reference", "untrained"


class DesignFitness(base.Fitness):  # type: ignore[misc]
    """DEAP's view of a candidate; by default quality up, parameters down, FLOPs per token down.

    A class of its own, since `deap.creator` makes a new class on unpickling.
    """

    weights: tuple[float, ...] = (1.0, -1.0, -1.0)

    def __init__(self, values: Sequence[float] = (), weights: tuple[float, ...] = weights) -> None:
        self.weights = weights
        super().__init__(values)


class Unmeasured(Exception):
    """The scores of a verification do not give what fitness needs; the message says why."""


@dataclass(frozen=True)
class Point:
    """One metric of one verification, which way is better, and what it is measured from.

    `zero` is the score of the same model untrained where gains are shares of what training has
    gained, and None where they are shares of the score itself.
    """

    value: float
    up: bool
    zero: float | None = None

    @property
    def unit(self) -> float:
        """What a gain of 100 % over this point is; of a reference it must be above 0."""
        if self.zero is None:
            return abs(self.value)
        return self.value - self.zero if self.up else self.zero - self.value


@dataclass(frozen=True)
class Reading:
    """What a verification scored: the points of its fitness, and those of other objectives."""

    points: tuple[Point, ...]
    objectives: Mapping[str, Point] = field(default_factory=dict)


@dataclass(frozen=True)
class _Section:
    """What a section [fitness] says."""

    metric: str | tuple[str, ...]
    relative_to: str = REFERENCE


@dataclass(frozen=True)
class Measure:
    """What fitness is made of: metrics, what gains are relative to, and the metrics that a
    selector weighs next to it."""

    metrics: tuple[str, ...]
    relative_to: str = REFERENCE
    objectives: tuple[str, ...] = ()

    @classmethod
    def of(cls, section: object) -> Measure:
        """Return the measure of a section [fitness] in JSON; without other objectives."""
        known = from_json(_Section, section)
        metric = known.metric
        return cls((metric,) if isinstance(metric, str) else metric, known.relative_to)

    def __str__(self) -> str:
        """Return the metrics in words, and what a gain is a share of."""
        share = ", as a share of what training gains" if self.relative_to == UNTRAINED else ""
        return " and ".join(self.metrics) + share

    def read(self, scores: Scores, controls: Controls, *, base: bool) -> Reading:
        """Return what the scores of a verification say; `base`: others are measured against it.

        Raises:
            Unmeasured: a metric is missing or not finite, or nothing can be a share of it.
        """
        points = {
            name: self._point(name, scores, controls if base else None)
            for name in (*self.metrics, *self.objectives)
        }
        return Reading(
            tuple(points[name] for name in self.metrics),
            {name: points[name] for name in self.objectives},
        )

    def _point(self, metric: str, scores: Scores, controls: Controls | None) -> Point:
        value = metric_value(scores, metric)
        if value is None:
            raise Unmeasured(f"the metric {metric} is missing or not finite")
        up = higher_is_better(scores, metric)
        if controls is None:
            return Point(value, up)
        if self.relative_to == REFERENCE:
            point = Point(value, up)
            why = "it scores 0"
        else:
            zero = metric_value(controls.get(UNTRAINED, {}), metric)
            if zero is None:
                raise Unmeasured(f"its untrained control has no {metric}")
            point = Point(value, up, zero)
            why = f"{value:.4g} trained against {zero:.4g} untrained"
        if not point.unit > 0:
            raise Unmeasured(f"a gain cannot be a share of its {metric}: {why}")
        return point


def metric_value(scores: Scores, metric: str) -> float | None:
    """Return the value of `metric`, or None where it is missing or not finite.

    `accuracy` is the mean over all scores whose name ends in `:acc`; a group of tasks counts
    once, with its own mean, and its parts (`group/task:acc`) do not, as in the paper.
    """
    if metric == ACCURACY:
        found = [
            score.value
            for name, score in sorted(scores.items())
            if name.endswith(":acc") and "/" not in name
        ]
        value = statistics.fmean(found) if found else math.nan
    else:
        value = scores[metric].value if metric in scores else math.nan
    return value if math.isfinite(value) else None


def higher_is_better(scores: Scores, metric: str) -> bool:
    """Return the direction of `metric` as its evaluator declared it."""
    return True if metric == ACCURACY else scores[metric].higher_is_better


def gain(value: float, reference: float, *, up: bool, unit: float | None = None) -> float:
    """Return how much better `value` is than `reference`, in percent of `unit`; left out, of
    `reference`."""
    difference = value - reference if up else reference - value
    return 100.0 * difference / (abs(reference) if unit is None else unit)


def fitness_gain(reading: Reading, references: Sequence[Reading]) -> float:
    """Return the gain over the mean of the references' trainings; over metrics the plain mean."""
    gains = [
        _gain(point, [reference.points[index] for reference in references])
        for index, point in enumerate(reading.points)
    ]
    return statistics.fmean(gains)


def objective_gains(reading: Reading, references: Sequence[Reading]) -> dict[str, float]:
    """Return the gain in each metric that a selector weighs next to the fitness."""
    return {
        name: _gain(point, [reference.objectives[name] for reference in references])
        for name, point in reading.objectives.items()
    }


def spread(references: Sequence[Reading]) -> list[float]:
    """Return the gain of each of the references' trainings over the mean of them all."""
    return [fitness_gain(each, references) for each in references]


def reference_noise(references: Sequence[Sequence[Reading]]) -> list[Noise | None]:
    """Return the noise at each rung from the readings of the reference there."""
    return noise_by_rung([spread(readings) for readings in references])


def _gain(point: Point, references: Sequence[Point]) -> float:
    base = _mean(references)
    return gain(point.value, base.value, up=base.up, unit=base.unit)


def _mean(points: Sequence[Point]) -> Point:
    zeros = [point.zero for point in points if point.zero is not None]
    value = statistics.fmean(point.value for point in points)
    return Point(value, points[0].up, statistics.fmean(zeros) if zeros else None)
