"""The noise of training: how far chance moves a gain, from several trainings of one design.

The formula is `noise_of`; where a run's readings come from is in `noise_floor`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from genesys_engine.engine.score.significance import SIGMAS, quantile

Sigmas = Sequence[float | None]
"""The noise of a gain in percent at each rung (`Noise.gain`), None where it is not known."""


@dataclass(frozen=True)
class Noise:
    """How far chance moves what is measured at a rung, in percent.

    SIGMAS of each hold 95 cases of 100: half the prediction interval of Student's t.  The bare
    standard deviation of a few seeds promises more than they know: twice that of three leaves out
    23 cases of 100.

    Args:
        one: noise of one training, were what it is compared with known exactly.
        trainings: of the reference, against whose mean gains are measured here.
    """

    one: float
    trainings: int

    @property
    def gain(self) -> float:
        """Sigma: the noise of a gain over the reference."""
        return self.one * math.sqrt(1 + 1 / self.trainings)

    @property
    def pair(self) -> float:
        """The noise of the difference between two designs that were trained once each."""
        return self.one * math.sqrt(2)


def noise_of(gains: Sequence[float], trainings: int | None = None) -> Noise | None:
    """Return the noise that the gains of several trainings of one design show; None below two.

    Args:
        trainings: those of the reference where the noise is wanted; left out, these.
    """
    n = len(gains)
    return None if n < 2 else Noise(stdev(gains) * quantile(n - 1) / SIGMAS, trainings or n)


def widening(trainings: int) -> float:
    """Return how many times the deviation of the reference's gains sigma is, with so many."""
    noise = Noise(quantile(trainings - 1) / SIGMAS, trainings)
    return noise.gain


def noise_by_rung(gains: Sequence[Sequence[float]]) -> list[Noise | None]:
    """Return the noise at each rung from the gains of the reference's trainings there.

    Upper rungs may train it once only: they take the spread from the nearest rung below that shows
    one, but their gains are measured against that one training.  None where no rung shows one.
    """
    found: list[Noise | None] = []
    spread: Sequence[float] = ()
    for here in gains:
        spread = here if len(here) > 1 else spread
        found.append(noise_of(spread, max(1, len(here))))
    return found


def gain_sigmas(noise: Sequence[Noise | None]) -> tuple[float | None, ...]:
    """Return sigma of a gain at each rung, None where the noise is not known."""
    return tuple(None if each is None else each.gain for each in noise)


def noise_of_mean(sigmas: Sequence[float | None]) -> float | None:
    """Return sigma of a fitness: of the mean of one gain from each rung, whose noise is `sigmas`.

    None where that of one is not known.
    """
    known = [sigma for sigma in sigmas if sigma is not None]
    if not known or len(known) < len(sigmas):
        return None
    return math.hypot(*known) / len(known)


def fitness_sigma(sigmas: Sigmas, rung: int) -> float | None:
    """Return the noise in percent of the fitness of a design that was verified up to `rung`."""
    return noise_of_mean(sigmas[: rung + 1])
