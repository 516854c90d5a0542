"""Fitness: the gain over the reference design, in percent, at the same rung.

The paper's F(B) is a mean over tasks and scales (arXiv 2506.20249, section 2).  Bits per byte
differ far more between rungs than between designs, so a plain mean over rungs would reward
whoever was verified higher up.  Each rung is therefore measured against the reference design
(the first seed) trained there with the same data, tokens and seed; the design's fitness is the
mean of its gains.  The reference itself has fitness 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from deap import base


class DesignFitness(base.Fitness):  # type: ignore[misc]
    """DEAP's view of a candidate: quality up, parameters down, FLOPs per token down.

    A class of its own, since `deap.creator` makes a new class on unpickling.
    """

    weights = (1.0, -1.0, -1.0)


def metric_value(scores: Mapping[str, Any], metric: str) -> float | None:
    """Return the value of `metric`, or None where it is missing or not finite.

    `accuracy` is the mean over all scores whose name ends in `:acc`; a group of tasks counts
    once, with its own mean, and its parts (`group/task:acc`) do not, as in the paper.
    """
    if metric == "accuracy":
        found = [
            float(score["value"])
            for name, score in sorted(scores.items())
            if name.endswith(":acc") and "/" not in name
        ]
        value = statistics.fmean(found) if found else math.nan
    else:
        value = float(scores[metric]["value"]) if metric in scores else math.nan
    return value if math.isfinite(value) else None


def higher_is_better(scores: Mapping[str, Any], metric: str) -> bool:
    """Return the direction of `metric` as its evaluator declared it."""
    return True if metric == "accuracy" else bool(scores[metric]["higher_is_better"])


def gain(value: float, reference: float, *, up: bool) -> float:
    """Return how much better `value` is than `reference`, in percent of `reference`."""
    difference = value - reference if up else reference - value
    return 100.0 * difference / abs(reference)


def noise(values: Sequence[float]) -> float | None:
    """Return sigma: the standard deviation over training seeds, in percent of the mean.

    None below two seeds: the noise is then not known, which is not the same as zero.
    """
    if len(values) < 2:
        return None
    return 100.0 * statistics.stdev(values) / abs(statistics.fmean(values))
