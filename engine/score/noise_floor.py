"""The noise of a run: its reference is trained several times at each rung (see `noise`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from genesys_engine.engine.score.fitness import Measure, Reading, Unmeasured, reference_noise
from genesys_engine.engine.score.noise import Noise, Sigmas, gain_sigmas
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store, VerificationRow


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
