"""When a difference counts: the training noise, measured with several seeds of one design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from genesys_engine.engine.finals import is_fresh
from genesys_engine.engine.significance import SIGMAS, noise_of, noise_of_mean
from genesys_engine.engine.store import Store

SAID = {
    "reference": "the reference",
    "better": "better",
    "worse": "worse",
    "within noise": "no difference shown",
    "noise unknown": "noise not measured",
}
"""Standing -> what a table says of it."""

Sigmas = Mapping[str, float | None]
"""Rung index as text -> noise of a gain in percent (`noise_of`), or None."""

REFERENCE, BETTER, WORSE = "reference", "better", "worse"
WITHIN_NOISE, NOISE_UNKNOWN = "within noise", "noise unknown"


@dataclass(frozen=True)
class NoiseFloor:
    """The reference design (None before it is accepted) and the noise at each rung."""

    reference: int | None
    sigmas: Sigmas


def noise_floor(store: Store) -> NoiseFloor:
    """Return the reference and the noise: as the run concluded, or as far as it has come."""
    if store.meta("sigma") is not None:
        return NoiseFloor(store.meta("reference"), store.meta("sigma"))
    operator = "seed:" + store.meta("experiment")["population"]["reference"]
    found = (row.id for row in store.designs() if row.accepted and row.operator == operator)
    reference = next(found, None)
    if reference is None:
        return NoiseFloor(None, {})
    gains: dict[str, list[float]] = {}
    for row in store.verifications(reference):
        if row.fitness is not None and not is_fresh(row.replicate):
            gains.setdefault(str(row.rung), []).append(row.fitness)
    return NoiseFloor(reference, {rung: noise_of(each) for rung, each in gains.items()})


def sigma_at(sigmas: Sigmas, rung: int) -> float | None:
    """Return the noise in percent at `rung`, or at the nearest rung below where it was measured.

    Upper rungs train the reference once only; None means that no rung has a measurement.
    """
    for index in range(rung, -1, -1):
        if (sigma := sigmas.get(str(index))) is not None:
            return sigma
    return None


def fitness_sigma(sigmas: Sigmas, rung: int) -> float | None:
    """Return the noise in percent of a fitness: of the mean of one gain from each rung."""
    return noise_of_mean([sigma_at(sigmas, each) for each in range(rung + 1)])


def fresh_standing(low: float | None, high: float | None) -> str:
    """Say whether the interval around a gain with fresh seeds leaves out 0."""
    if low is None or high is None:
        return NOISE_UNKNOWN
    if low <= 0 <= high:
        return WITHIN_NOISE
    return BETTER if low > 0 else WORSE


def standing(fitness: float, sigma: float | None) -> str:
    """Say whether a gain of `fitness` percent over the reference exceeds the noise `sigma`."""
    if sigma is None:
        return NOISE_UNKNOWN
    if abs(fitness) <= SIGMAS * sigma:
        return WITHIN_NOISE
    return BETTER if fitness > 0 else WORSE
