"""What has to be reported next to a good gain: a control that is better, and more compute."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genesys_engine.engine.common.text import count, listed, metric_title, number, signed
from genesys_engine.engine.jobs.scores import Controls, Scores, value_of
from genesys_engine.engine.score.significance import SIGMAS
from genesys_engine.engine.views.costs import Cost
from genesys_engine.engine.views.leaderboard import LeaderboardRow

BIGRAM, BITS = "bigram", "bits_per_byte"
_SAME_COMPUTE = 1.0
"""Percent of FLOPs per token below which nothing is reported of compute."""


@dataclass(frozen=True)
class _Behind:
    """A metric in which a control beats a model by more than chance.

    In bits per byte any lead counts: both were scored on the same windows, whose differences make
    up nearly all of the standard error.
    """

    metric: str
    value: float
    control: float
    up: bool

    def __str__(self) -> str:
        """Return `bits per byte (2.734 against 2.191, less is better)`."""
        better = "more" if self.up else "less"
        return (
            f"{metric_title(self.metric)} ({number(self.value)} against {number(self.control)},"
            f" {better} is better)"
        )


def behind_control(scores: Scores, controls: Controls, control: str = BIGRAM) -> Iterator[str]:
    """Yield a sentence where a control scores better than a model in any metric."""
    if behind := _behind(scores, controls, control):
        yield f"It is worse than the {control} control in {listed(map(str, behind))}."


def all_behind_control(rows: Sequence[LeaderboardRow], control: str = BIGRAM) -> Iterator[str]:
    """Yield a sentence where no model of a rung is as good as a control, with the best score."""
    found: dict[str, list[_Behind]] = {}
    for row in rows:
        for behind in _behind(row.scores, row.controls, control):
            found.setdefault(behind.metric, []).append(behind)
    beaten = [
        max(each, key=lambda behind: behind.value if behind.up else -behind.value)
        for metric, each in found.items()
        if len(each) == sum(metric in row.scores for row in rows)
    ]
    if beaten:
        many = "the model" if len(rows) == 1 else f"the best of {len(rows)} models"
        scores = listed(map(str, beaten))
        yield f"{many} at {rows[0].rung} is worse than the {control} control in {scores}"


def unresolved(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    """Yield a sentence for each task whose items are too few to separate any two models.

    Bits per byte are left out: they are compared window by window, and against the noise of
    training.
    """
    metrics = dict.fromkeys(metric for row in rows for metric in row.scores)
    for metric in metrics:
        scores = [row.scores[metric] for row in rows if metric in row.scores]
        errors = [score.stderr for score in scores if score.stderr]
        if metric == BITS or "/" in metric or len(scores) < 2 or len(errors) < len(scores):
            continue
        least = SIGMAS * math.sqrt(2) * statistics.median(errors)
        values = [score.value for score in scores]
        if (spread := max(values) - min(values)) < least:
            yield (
                f"{metric_title(metric)} at {rows[0].rung} separates none of these models: over"
                f" {scores[0].n} items the smallest significant difference is {number(least)},"
                f" and they differ by at most {number(spread)}"
            )


def more_compute(cost: Cost, reference: str) -> Iterator[str]:
    """Yield a sentence where a model takes more or less compute than the reference."""
    share = cost.compute
    if share is None or abs(share) < _SAME_COMPUTE:
        return
    word = "more" if share > 0 else "less"
    yield (
        f"It uses {word} compute than {reference}: {count(cost.flops or 0.0)} FLOPs per token"
        f" against {count(cost.reference_flops or 0.0)} ({signed(share, 0)} %)."
    )


def _behind(scores: Scores, controls: Controls, control: str) -> list[_Behind]:
    found = []
    for metric, score in scores.items():
        other = value_of(controls, control, metric)
        if "/" in metric or other is None:  # of a group of tasks its mean speaks
            continue
        up = score.higher_is_better
        behind = other - score.value if up else score.value - other
        chance = 0.0 if metric == BITS else SIGMAS * (score.stderr or 0.0)
        if behind > chance:
            found.append(_Behind(metric, score.value, other, up))
    return found
