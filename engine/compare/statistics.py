"""Intervals for rates and for means over seeds, and comparisons of two arms.

Intervals are 95 % unless stated otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from genesys_engine.engine.common.records import sparse
from genesys_engine.engine.common.text import plural, signed
from genesys_engine.engine.score.significance import CONFIDENCE, mean_half_width
from genesys_engine.engine.score.standing import NOT_MEASURED, interval_standing, outcome

RESAMPLES = 10_000
SEED = 1
"""Seed of the bootstrap: equal results give equal intervals."""
ROUNDING = 1e-9  # of the range of the values: means as close as this are equal


@dataclass(frozen=True)
class Interval:
    """A closed interval; `low` <= `high`."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        """Return [low, high]."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Difference:
    """By how much one arm exceeds another: `value` in points of their unit, over `n` pairs.

    `interval` is None if there are too few pairs to estimate it.
    """

    value: float
    interval: Interval | None
    n: int

    @property
    def standing(self) -> str:
        """The standing of the first arm: better, worse, within noise."""
        low, high = (self.interval.low, self.interval.high) if self.interval else (None, None)
        return interval_standing(low, high)


def wilson(successes: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the score interval of a proportion; (0, 1) for n = 0.

    Source: Wilson 1927; Newcombe 1998, Statistics in Medicine 17:857, method 3.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    from scipy.stats import binomtest

    found = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def paired_rates(
    first: Sequence[bool], second: Sequence[bool], *, confidence: float = CONFIDENCE
) -> Difference:
    """Return by how much the rate of `first` exceeds that of `second` over the same items.

    Source: Newcombe 1998, Statistics in Medicine 17:2635, method 10: the Wilson intervals of
    both rates, squared and added, with the correlation of the pairs, corrected for continuity.
    """
    n = len(first)
    if n != len(second):
        raise ValueError(f"{n} and {len(second)} results are no pairs")
    if n == 0:
        return Difference(0.0, None, 0)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    only_first, only_second = sum(first) - both, sum(second) - both
    neither = n - both - only_first - only_second
    one, two = sum(first) / n, sum(second) / n
    ranges = (wilson(sum(first), n, confidence=confidence),
              wilson(sum(second), n, confidence=confidence))  # fmt: skip
    phi = _correlation(both, only_first, only_second, neither)
    low = _added(one - ranges[0].low, ranges[1].high - two, phi)
    high = _added(two - ranges[1].low, ranges[0].high - one, phi)
    value = one - two
    return Difference(value, Interval(max(-1.0, value - low), min(1.0, value + high)), n)


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    margins = (
        (both + only_first)
        * (only_second + neither)
        * (both + only_second)
        * (only_first + neither)
    )
    if margins == 0:
        return 0.0
    n = both + only_first + only_second + neither
    agreement = float(both * neither - only_first * only_second)
    if agreement > 0:
        agreement = max(0.0, agreement - n / 2)
    return agreement / math.sqrt(margins)


def _added(one: float, two: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * two + two * two))


def mean_interval(values: Sequence[float], seed: int) -> Interval | None:
    """Return the interval of a mean: the bootstrap's, or Student's t if that is wider.

    The bootstrap sees no value beyond the sample: with three values from a normal distribution it
    misses the mean in one case of five instead of twenty.  None for fewer than two values, and if
    all are equal, since their spread then says nothing about chance.
    """
    if len(values) < 2 or max(values) == min(values):
        return None
    found = bootstrap_mean(values, seed)
    mean = fmean(values)
    half = mean_half_width(values)
    assert found is not None, "there are two values and more"
    return Interval(min(mean - half, found.low), max(mean + half, found.high))


@dataclass(frozen=True)
class MedianInterval:
    """A median and the widest interval of order statistics that holds it with `confidence`.

    None stands for more than was observed.
    """

    median: float | None
    low: float | None
    high: float | None
    confidence: float


def median_interval(values: Sequence[float]) -> MedianInterval | None:
    """Return the median and its distribution-free interval; None for fewer than two values.

    An infinite value is one that is known only to be larger than what was observed.

    The interval lies between two order statistics, as close as hold the median with 95 %.  Below
    six values none do: then it is from the smallest to the largest, with the confidence that these
    have (93.75 % with five).

    Source: Conover 1999, Practical Nonparametric Statistics, section 3.2 (the sign test inverted).
    """
    n, ordered = len(values), sorted(values)
    if n < 2:
        return None
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    below = [sum(math.comb(n, i) for i in range(k + 1)) / 2**n for k in range(n)]
    cut = max((k for k in range(n // 2) if 1 - 2 * below[k] >= CONFIDENCE), default=0)
    ends = (middle, ordered[cut], ordered[n - 1 - cut])
    median, low, high = (value if math.isfinite(value) else None for value in ends)
    return MedianInterval(median, low, high, 1 - 2 * below[cut])


def rate_interval(counts: Sequence[tuple[int, int]], seed: int) -> Interval | None:
    """Return the interval of a rate over groups of (successes, trials), where groups are sampled.

    Trials within a group are alike, so an interval that treats them as independent is too narrow.
    The rate is a ratio of two sums over groups; linearised, it is the mean of one value per group
    and has the interval of `mean_interval`, or None.

    Source: Cochran 1977, Sampling Techniques, chapter 6 (ratio estimators).
    """
    successes, trials = (sum(pair[i] for pair in counts) for i in (0, 1))
    if trials == 0:
        return None
    away = [own * trials - n * successes for own, n in counts]  # whole numbers: no rounding
    rate, scale = successes / trials, len(counts) / trials**2
    found = mean_interval([rate + each * scale for each in away], seed)
    return None if found is None else Interval(max(0.0, found.low), min(1.0, found.high))


def bootstrap_mean(
    values: Sequence[float],
    seed: int,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval of a mean; None for n < 2.

    The order of the values does not matter.  With few values it is too narrow (see
    `mean_interval`).

    Source: Efron 1987, JASA 82:171.
    """
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    if low == high:
        return Interval(low, high)
    import numpy as np
    from scipy.stats import bootstrap

    data = np.sort(np.asarray(values, dtype=np.float64))
    middle, rounding = data.mean(), ROUNDING * (high - low)

    def mean(sample: Any, axis: int) -> Any:
        # A resample with the mean of the data is a tie, however its sum rounds.
        means = sample.mean(axis=axis)
        return np.where(np.abs(means - middle) <= rounding, middle, means)

    found = bootstrap(
        (data,), mean, n_resamples=resamples, confidence_level=confidence, method="BCa",
        vectorized=True, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(float(found.low), float(found.high))


def paired_means(first: Sequence[float], second: Sequence[float], seed: int) -> Difference:
    """Return by how much the mean of `first` exceeds that of `second` over the same seeds."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} results are no pairs")
    if not first:
        return Difference(0.0, None, 0)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return Difference(fmean(differences), mean_interval(differences, seed), len(differences))


@dataclass(frozen=True)
class Comparison:
    """How the arm `first` compares with the arm `second`; None if unknown.

    Args:
        n: pairs of results.
        difference: of `first` over `second`, in points of the unit.
        proposals, measure: which proposals or which measure of runs were compared.
        sentence: the same in words.
    """

    first: str
    second: str
    n: int
    difference: float | None
    interval: Interval | None
    sentence: str
    proposals: str = sparse("")
    measure: str = sparse("")


def compared(
    first: str,
    second: str,
    difference: Difference,
    what: str,
    *,
    proposals: str = "",
    measure: str = "",
    digits: int = 1,
) -> Comparison:
    """Return a comparison of two arms; the arguments are those of `Comparison` and `sentence`."""
    text = sentence(first, second, difference, what, digits=digits)
    value, n = (difference.value if difference.n else None), difference.n
    return Comparison(first, second, n, value, difference.interval, text, proposals, measure)


def sentence(first: str, second: str, difference: Difference, what: str, *, digits: int = 1) -> str:
    """Return what a comparison shows, in one sentence, in the words of a run's verdict.

    Args:
        difference: of `first` over `second`, in points of the unit.
        what: what was measured, such as "valid designs".
        digits: behind the decimal point.
    """
    by, interval = f"{signed(difference.value, digits)} points", difference.interval
    if interval is None:
        pairs = plural(difference.n, "pair")
        found = f"{by} in each of {pairs}" if difference.n > 1 else pairs
        return f"{first} against {second} in {what}: {NOT_MEASURED} ({found})."
    ends = f"{signed(interval.low, digits)} to {signed(interval.high, digits)}"
    standing = outcome(difference.standing, second)
    return f"{first} is {standing} in {what}: {by} (95 % interval {ends}, n = {difference.n})."


def in_points(difference: Difference) -> Difference:
    """Return a difference of rates in percentage points."""
    interval = difference.interval
    scaled = None if interval is None else Interval(100 * interval.low, 100 * interval.high)
    return Difference(100 * difference.value, scaled, difference.n)
