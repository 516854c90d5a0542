"""How wide intervals are, and what a difference must exceed; the noise itself is in `noise`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

SIGMAS = 2.0
"""How many standard deviations of the noise a difference must exceed before it is called one."""

CONFIDENCE = 0.95


def mean_half_width(values: Sequence[float], *, comparisons: int = 1, shared: float = 0.0) -> float:
    """Return half the 95 % interval of the mean of two values or more (Student's t).

    Args:
        comparisons: so many intervals are to hold together.
        shared: variance of the mean that the spread of the values does not show.
    """
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return quantile(n - 1, comparisons=comparisons) * math.sqrt(variance / n + shared)


@lru_cache
def quantile(freedom: int, *, confidence: float = CONFIDENCE, comparisons: float = 1) -> float:
    """Return how many standard errors an interval reaches to each side of a mean (Student's t).

    With several `comparisons` the intervals hold together (Bonferroni); a fraction of the error may
    be spent by a number that is not whole.
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, _tail(confidence, comparisons)))


def normal_quantile(*, confidence: float = CONFIDENCE, comparisons: float = 1) -> float:
    """Return the same where the standard error is known."""
    return NormalDist().inv_cdf(_tail(confidence, comparisons))


def _tail(confidence: float, comparisons: float) -> float:
    return 1 - (1 - confidence) / (2 * comparisons)
