"""How far chance goes: what a difference must exceed, and how wide intervals are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist, stdev

SIGMAS = 2.0
"""How many standard deviations of the noise a difference must exceed before it is called one."""

CONFIDENCE = 0.95


def noise_of(gains: Sequence[float]) -> float | None:
    """Return sigma: SIGMAS of it hold the gain of one more training of the same design, measured
    against the mean of these, in 95 cases of 100.  None below two.

    That is half the prediction interval of Student's t.  The bare standard deviation of a few
    seeds promises more than they know: twice that of three leaves out 23 cases of 100.
    """
    n = len(gains)
    return None if n < 2 else stdev(gains) * quantile(n - 1) * math.sqrt(1 + 1 / n) / SIGMAS


def noise_of_mean(sigmas: Sequence[float | None]) -> float | None:
    """Return sigma of the mean of gains from one training each, whose noise is `sigmas`.

    None where that of one is not known.
    """
    known = [sigma for sigma in sigmas if sigma is not None]
    if not known or len(known) < len(sigmas):
        return None
    return math.hypot(*known) / len(known)


@lru_cache
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
