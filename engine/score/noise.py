"""When a difference is significant, its standing in one word, and the training noise of a run.

The noise is measured by training the reference several times.  Each standing has the same word
everywhere: on the terminal, in the report, in a model card and in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.score.fitness import Measure, Reading, Unmeasured, reference_noise
from genesys_engine.engine.score.significance import SIGMAS, Noise, gain_sigmas, noise_of_mean
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store, VerificationRow

REFERENCE, BETTER, WORSE = "reference", "better", "worse"
NO_DIFFERENCE, NOT_MEASURED = "within noise", "noise not measured"

Sigmas = Sequence[float | None]
"""The noise of a gain in percent at each rung (`Noise.gain`), None where it is not known."""


def standing(difference: float, sigma: float | None) -> str:
    """Return whether a difference exceeds `SIGMAS` times its noise (None: unknown noise)."""
    if sigma is None:
        return NOT_MEASURED
    return interval_standing(difference - SIGMAS * sigma, difference + SIGMAS * sigma)


def interval_standing(low: float | None, high: float | None) -> str:
    """Return whether the interval around a difference excludes 0 (None: no interval)."""
    if low is None or high is None:
        return NOT_MEASURED
    if low <= 0 <= high:
        return NO_DIFFERENCE
    return BETTER if low > 0 else WORSE


def outcome(word: str, whom: str) -> str:
    """Return a standing relative to a rival: `better than gpt`, `within noise of gpt`."""
    links = {BETTER: "than", WORSE: "than", NO_DIFFERENCE: "of", NOT_MEASURED: "against"}
    return "the reference" if word == REFERENCE else f"{word} {links[word]} {whom}"


@dataclass(frozen=True)
class NoiseFloor:
    """The reference design (None before it is accepted) and the noise at each rung."""

    reference: int | None
    noise: tuple[Noise | None, ...]

    @property
    def sigmas(self) -> Sigmas:
        """The noise of a gain over the reference at each rung."""
        return gain_sigmas(self.noise)


def noise_floor(store: Store) -> NoiseFloor:
    """Return the reference and the noise as far as the run has come."""
    experiment = store.meta("experiment")
    operator = "seed:" + experiment["population"]["reference"]
    accepted = (row.id for row in store.designs() if row.accepted and row.operator == operator)
    reference = next(accepted, None)
    rows = store.verifications(reference) if reference is not None else ()
    rungs, measure = len(experiment["ladder"]["rungs"]), Measure.of(experiment["fitness"])
    return NoiseFloor(reference, noise_of_reference(rows, rungs, measure))


def noise_of_reference(
    rows: Iterable[VerificationRow], rungs: int, measure: Measure
) -> tuple[Noise | None, ...]:
    """Return the noise at each of `rungs` from verifications of the reference.

    It is what the run reckons from the same readings (`State.noise`).
    """
    readings: list[list[Reading]] = [[] for _ in range(rungs)]
    for row in rows:
        if row.fitness is not None and not is_fresh(row.replicate):
            try:
                readings[row.rung].append(measure.read(row.scores, row.controls, base=True))
            except Unmeasured:
                continue  # the run took no reading of it either
    return tuple(reference_noise(readings))


def fitness_sigma(sigmas: Sigmas, rung: int) -> float | None:
    """Return the noise in percent of the fitness of a design that was verified up to `rung`."""
    return noise_of_mean(sigmas[: rung + 1])
