"""When a difference counts: the training noise, measured with several seeds of one design."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.finals import is_fresh
from genesys_engine.engine.significance import SIGMAS, gain_sigmas, noise_by_rung, noise_of_mean
from genesys_engine.engine.store import Store, VerificationRow

SAID = {
    "reference": "the reference",
    "better": "better",
    "worse": "worse",
    "within noise": "no difference shown",
    "noise unknown": "noise not measured",
}
"""Standing -> what a table says of it."""

Sigmas = Sequence[float | None]
"""The noise of a gain in percent at each rung (`Noise.gain`), None where it is not known."""

REFERENCE, BETTER, WORSE = "reference", "better", "worse"
WITHIN_NOISE, NOISE_UNKNOWN = "within noise", "noise unknown"


@dataclass(frozen=True)
class NoiseFloor:
    """The reference design (None before it is accepted) and the noise at each rung."""

    reference: int | None
    sigmas: Sigmas


def noise_floor(store: Store) -> NoiseFloor:
    """Return the reference and the noise: as the run concluded, or as far as it has come."""
    rungs = range(len(store.meta("experiment")["ladder"]["rungs"]))
    if (found := store.meta("sigma")) is not None:
        return NoiseFloor(store.meta("reference"), tuple(found.get(str(rung)) for rung in rungs))
    operator = "seed:" + store.meta("experiment")["population"]["reference"]
    accepted = (row.id for row in store.designs() if row.accepted and row.operator == operator)
    reference = next(accepted, None)
    rows = store.verifications(reference) if reference is not None else ()
    return NoiseFloor(reference, reference_sigmas(rows, len(rungs)))


def reference_sigmas(rows: Iterable[VerificationRow], rungs: int) -> Sigmas:
    """Return the noise at each of `rungs` from verifications of the reference."""
    gains: list[list[float]] = [[] for _ in range(rungs)]
    for row in rows:
        if row.fitness is not None and not is_fresh(row.replicate):
            gains[row.rung].append(row.fitness)
    return gain_sigmas(noise_by_rung(gains))


def fitness_sigma(sigmas: Sigmas, rung: int) -> float | None:
    """Return the noise in percent of the fitness of a design that was verified up to `rung`."""
    return noise_of_mean(sigmas[: rung + 1])


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
