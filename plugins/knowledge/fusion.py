"""Several rankings in one."""

from __future__ import annotations

from collections.abc import Sequence

FUSION = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009, section 2)."""


def fuse(
    rankings: Sequence[Sequence[str]], weights: Sequence[float] | None = None
) -> list[tuple[str, float]]:
    """Return (name, score) best first; the score is the sum of weight / (60 + rank).

    Equal scores are ordered by name, so that equal rankings always give the same.
    """
    scores: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, name in enumerate(ranking, 1):
            scores[name] = scores.get(name, 0.0) + weight / (FUSION + rank)
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))
