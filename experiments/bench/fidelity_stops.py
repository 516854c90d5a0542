"""Ending trials early by a forecast: what it would save, and which designs it would lose.

A straight line through the logarithms of the final scores, over the mean loss before a share of the
tokens and how it has changed since, forecasts by how much a trial will end behind another one.  It
ends where that is more than some deviations of the forecast from the last one that would climb so
far.  All trials read the same text in the same order, so that what the batches have in common
cancels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from fidelity_records import Recipe, Record
from fidelity_statistics import Curve, stretch
from fidelity_tables import FEWEST_CLIMBERS, READINGS, of_recipe, scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW = 0.125  # of the tokens, over which a loss is averaged
ORDERS = 60
BESIDE = 2  # trials that run at the same time as one, and are not known to it


@dataclass(frozen=True)
class Rule:
    """A trial ends at the share `at` where it is forecast to end behind by more than `deviations`;
    `slope`: the forecast also reads how the loss has changed."""

    at: float
    slope: bool
    deviations: float

    def features(self, curve: Curve) -> list[float]:
        """Return what the forecast of a curve is a linear function of."""
        now = stretch(curve, self.at - WINDOW, self.at)
        before = stretch(curve, self.at - 2 * WINDOW, self.at - WINDOW)
        return [1.0, now, now - before] if self.slope else [1.0, now]


RULES = tuple(
    Rule(at, slope, deviations)
    for at, slope in ((0.5, False), (0.5, True), (0.625, True), (0.75, True))
    for deviations in (1.0, 2.0, 3.0)
)


@dataclass(frozen=True)
class Stopped:
    """Shares: of the climbing designs that are ended, of all trials that are, and of the tokens of
    the rung that are saved; `deviation` is that of the forecast, in percent of the score."""

    wrong: float
    ended: float
    saved: float
    deviation: float


def stopped(
    curves: Mapping[str, Curve], final: Mapping[str, float], rule: Rule, climbing: int
) -> Stopped:
    """Return what a rule does over random orders; each design's forecast is fitted on the others.

    Args:
        curves: of the designs whose training ended with a score.
        final: their scores; the `climbing` lowest climb.
    """
    names = sorted(curves)
    X = np.array([rule.features(curves[name]) for name in names])
    y = np.log([final[name] for name in names])
    fits = [_fitted(np.delete(X, number, 0), np.delete(y, number)) for number in range(len(names))]
    climbers = set(np.argsort(y)[:climbing].tolist())
    draw, ended, wrong = random.Random(3), 0, 0
    for _ in range(ORDERS):
        finished: list[int] = []
        for place, number in enumerate(draw.sample(range(len(names)), len(names))):
            known = sorted(finished[: max(0, place - BESIDE)], key=lambda other: y[other])
            weights, deviation = fits[number]
            behind = -math.inf
            if len(known) >= climbing:
                behind = float((X[number] - X[known[climbing - 1]]) @ weights)
            if behind > rule.deviations * deviation:
                ended += 1
                wrong += number in climbers
            else:
                finished.append(number)
    share = ended / (ORDERS * len(names))
    of_all = _fitted(X, y)[1]
    return Stopped(wrong / (ORDERS * climbing), share, share * (1 - rule.at), 100 * of_all)


def _fitted(X: Floats, y: Floats) -> tuple[Floats, float]:
    """Return the weights of the forecast and the deviation of what it leaves."""
    weights: Floats = np.linalg.lstsq(X, y, rcond=None)[0].astype(np.float64)
    left = y - X @ weights
    return weights, math.sqrt(float(left @ left) / (len(y) - X.shape[1]))


def forecasts(
    records: Sequence[Record], recipes: Mapping[str, Recipe]
) -> Iterator[tuple[str, ...]]:
    """Yield what each rule would do within each rung, with the head; a third climbs."""
    yield ("recipe", "stop at", "forecast by", "behind by", "its deviation", "wrongly ended",
           "ended", "training saved")  # fmt: skip
    for name, recipe in recipes.items():
        found = {n: of[0] for n, of in of_recipe(records, recipe).items() if 0 in of}
        final = scored({n: {0: record} for n, record in found.items()}, READINGS[0])
        final = {n: score for n, score in final.items() if math.isfinite(score)}
        climbing = len(final) // 3
        if climbing < FEWEST_CLIMBERS:
            continue
        curves = {n: found[n].curve for n in final}
        for rule in RULES:
            does = stopped(curves, final, rule, climbing)
            yield (
                name,
                f"{rule.at:g}",
                "loss and slope" if rule.slope else "loss",
                f"{rule.deviations:g} deviations",
                f"{does.deviation:.2f} %",
                f"{100 * does.wrong:.1f} %",
                f"{100 * does.ended:.0f} %",
                f"{100 * does.saved:.0f} %",
            )
