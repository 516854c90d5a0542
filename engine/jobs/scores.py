"""A score: one shape from the evaluator that gives it to the leaderboard that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from genesys_engine.plugins.api import Score

__all__ = ["MAX_ABS_SCORE", "Controls", "Curve", "GivenScores", "Score", "Scores", "is_measured"]

MAX_ABS_SCORE = 1e100  # so that means and shares of scores are finite too

Scores = Mapping[str, Score]
"""Scores by metric."""
Controls = Mapping[str, Scores]
"""Scores of the models that a design is compared with, by the name of the control."""
Curve = tuple[tuple[float, float], ...]
"""Points (tokens seen, training loss in nats per token)."""


def value_of(controls: Controls, control: str, metric: str) -> float | None:
    """Return what a control scores in a metric, None where it was not scored."""
    score = controls.get(control, {}).get(metric)
    return None if score is None else score.value


def is_measured(value: float) -> bool:
    """Tell whether a score or a loss is finite, and no larger than can be reckoned with."""
    return abs(value) <= MAX_ABS_SCORE


def measured(scores: Scores) -> Scores:
    """Return the scores that can be reckoned with."""
    return {name: score for name, score in scores.items() if is_measured(score.value)}


def _with_stderr(score: Any) -> Any:
    """Drop a standard error that is no number, and fill in one that is left out."""
    if not isinstance(score, Mapping):
        return score
    given = score.get("stderr")
    usable = isinstance(given, int | float) and is_measured(given)
    return {**score, "stderr": given if usable else None}


GivenScores = dict[
    Annotated[str, Field(max_length=200)], Annotated[Score, BeforeValidator(_with_stderr)]
]
"""Scores as a worker or a plugin gives them; nothing of them is believed before it fits."""
