"""How far two rankings of the same designs agree, and what an early stop would cost and save.

Scores are losses: lower is better, and a training that failed is infinitely bad.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

import numpy as np
from scipy.stats import bootstrap, kendalltau, rankdata

RESAMPLES = 2000
FEWEST = 4  # designs below which no correlation is reported
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Agreement:
    """Rank correlations with their 95 % bootstrap interval over `n` designs.

    `upper_half` is Spearman's among the better half by the long result, where a run has to choose.
    """

    n: int
    spearman: float
    low: float
    high: float
    kendall: float
    upper_half: float


def agreement(cheap: Mapping[str, float], long: Mapping[str, float]) -> Agreement:
    """Return how far a cheap score ranks the designs of both as the long result does.

    Raises:
        ValueError: they have fewer than `FEWEST` designs in common.
    """
    shared = _shared(cheap, long)
    one, other = ([scores[name] for name in shared] for scores in (cheap, long))
    low, high = _interval(_spearman, one, other)
    best = sorted(shared, key=lambda name: long[name])[: max(FEWEST, len(shared) // 2)]
    return Agreement(
        len(shared),
        float(_spearman(one, other)),
        low,
        high,
        float(kendalltau(one, other).statistic),
        float(_spearman([cheap[name] for name in best], [long[name] for name in best])),
    )


def advantage(
    cheap: Mapping[str, float], today: Mapping[str, float], long: Mapping[str, float]
) -> tuple[float, float, float]:
    """Return by how much one score correlates better than another one, with its interval; the
    same designs are drawn for both."""
    shared = _shared(_only(cheap, today), long)
    first, second, truth = ([scores[name] for name in shared] for scores in (cheap, today, long))

    def more(one: Any, other: Any, last: Any, axis: int = -1) -> Any:
        return _spearman(one, last, axis) - _spearman(other, last, axis)

    return float(more(first, second, truth)), *_interval(more, first, second, truth)


def _only(scores: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if name in others}


def _shared(one: Mapping[str, float], other: Mapping[str, float]) -> list[str]:
    shared = sorted(set(one) & set(other))
    if len(shared) < FEWEST:
        raise ValueError(f"{len(shared)} designs in common; a correlation takes {FEWEST}")
    return shared


def _spearman(one: Any, other: Any, axis: int = -1) -> Any:
    """Return Spearman's rho along an axis; of a constant column 0, for it ranks nothing.

    `scipy.stats.spearmanr` takes one pair of columns a call, and the bootstrap asks for thousands.
    """
    ranks = [rankdata(column, axis=axis) for column in (one, other)]
    one, other = (rank - rank.mean(axis=axis, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(axis=axis) * (other**2).sum(axis=axis))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, (one * other).sum(axis=axis) / spread, 0.0)


def _interval(statistic: Callable[..., Any], *columns: Sequence[float]) -> tuple[float, float]:
    found = bootstrap(
        columns,
        statistic,
        paired=True,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    return float(found.low), float(found.high)


def relative_sigma(seeds: Sequence[Sequence[float]]) -> float:
    """Return the deviation between training seeds in percent of the score, pooled over designs;
    NaN where no design has two."""
    several = [scores for scores in seeds if len(scores) > 1 and all(map(math.isfinite, scores))]
    if not several:
        return math.nan
    return 100 * math.sqrt(fmean(variance(scores) / fmean(scores) ** 2 for scores in several))


def stretch(curve: Curve, begin: float, end: float) -> float:
    """Return the mean loss between two shares (0 to 1) of the tokens of a curve."""
    total = curve[-1][0] if curve else 0
    inside = [loss for tokens, loss in curve if begin * total < tokens <= end * total]
    return fmean(inside) if inside else math.inf


@dataclass(frozen=True)
class Stopping:
    """An early stop at a share of the tokens: a trial ends there if its loss is above that of the
    last one that would climb so far by more than `margin` (nats per token).

    `wrong` is the share of designs that would have climbed and were ended; `ended` that of all
    trials, `saved` that of the rung's training.
    """

    at: float
    margin: float
    wrong: float
    ended: float
    saved: float


def stopping(
    early: Mapping[str, float],
    final: Mapping[str, float],
    at: float,
    climbing: int,
    margin: float,
    *,
    orders: int = 200,
) -> Stopping:
    """Return what an early stop does, over random orders of the designs.

    A trial knows the losses of those that finished before it began: all before it in the order
    but the one that trains next to it.

    Args:
        early: mean loss at the share `at` of the tokens.
        final: what decides who climbs, of `climbing` designs.
    """
    names = sorted(early)
    climbers = set(sorted(names, key=lambda name: final[name])[:climbing])
    draw, ended, wrong = random.Random(1), 0, 0
    for _ in range(orders):
        order = draw.sample(names, len(names))
        for number, name in enumerate(order):
            known = sorted(early[other] for other in order[: max(0, number - 1)])
            if len(known) >= climbing and early[name] > known[climbing - 1] + margin:
                ended += 1
                wrong += name in climbers
    trials = orders * len(names)
    return Stopping(
        at, margin, wrong / (orders * climbing), ended / trials, ended / trials * (1 - at)
    )


def fitted_margin(early: Mapping[str, float], final: Mapping[str, float], climbing: int) -> float:
    """Return the smallest margin at which no design that climbs is ended, whatever came before it:
    how far the worst of them lay above the tightest bar, that of all designs."""
    climbers = sorted(early, key=lambda name: final[name])[:climbing]
    bar = sorted(early.values())[climbing - 1]
    return max(early[name] for name in climbers) - bar


def split_errors(
    early: Mapping[str, float], final: Mapping[str, float], share: float, *, halves: int = 100
) -> float:
    """Return the share of climbing designs that are ended by a margin fitted on others: on random
    halves of the designs, tried on the other half with all of it known."""
    names, draw, ended, tried = sorted(early), random.Random(2), 0, 0
    for _ in range(halves):
        order = draw.sample(names, len(names))
        fit, test = order[: len(order) // 2], order[len(order) // 2 :]
        climbing = max(1, round(share * len(fit)))
        margin = fitted_margin({n: early[n] for n in fit}, final, climbing)
        bar = sorted(early[name] for name in test)[climbing - 1]
        climbers = sorted(test, key=lambda name: final[name])[:climbing]
        ended += sum(early[name] > bar + margin for name in climbers)
        tried += len(climbers)
    return ended / tried


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the rank of each design, 1 for the lowest score; equal ones share their mean."""
    return dict(zip(scores, rankdata(list(scores.values())).tolist(), strict=True))


def partial(
    cheap: Mapping[str, float], known: Mapping[str, float], long: Mapping[str, float]
) -> tuple[float, float, float]:
    """Return the rank correlation of a cheap score with the long result that is left once what both
    share with a `known` score is taken out (Kendall & Gibbons 1990, chapter 8), with its
    interval."""
    shared = _shared(_only(cheap, known), long)
    columns = ([scores[name] for name in shared] for scores in (cheap, known, long))
    one, other, truth = columns

    def left(one: Any, other: Any, truth: Any, axis: int = -1) -> Any:
        direct, via, base = (
            _spearman(*pair, axis) for pair in ((one, truth), (one, other), (other, truth))
        )
        spread = np.sqrt((1 - via**2) * (1 - base**2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 0, (direct - via * base) / spread, 0.0)

    return float(left(one, other, truth)), *_interval(left, one, other, truth)
