"""How far chance goes: what a difference must exceed, and how wide intervals are."""

from __future__ import annotations

from statistics import NormalDist

SIGMAS = 2.0
"""How many standard deviations of the noise a difference must exceed before it is called one."""

CONFIDENCE = 0.95


def quantile(freedom: int, *, confidence: float = CONFIDENCE, comparisons: int = 1) -> float:
    """Return how many standard errors an interval reaches to each side of a mean (Student's t).

    With several `comparisons` the intervals hold together (Bonferroni).
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, _tail(confidence, comparisons)))


def normal_quantile(*, confidence: float = CONFIDENCE, comparisons: int = 1) -> float:
    """Return the same where the standard error is known."""
    return NormalDist().inv_cdf(_tail(confidence, comparisons))


def _tail(confidence: float, comparisons: int) -> float:
    return 1 - (1 - confidence) / (2 * comparisons)
