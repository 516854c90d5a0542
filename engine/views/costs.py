"""What designs take at a rung: parameters, FLOPs per token, and the time of their training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from genesys_engine.engine.jobs.facts import number
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow


@dataclass(frozen=True)
class Cost:
    """What one training of a design took; None where it was not measured.

    `flops` are per token and forward pass, `train_s` the seconds of training (None where the result
    was taken from the cache), `reference_flops` those of the reference at the same rung.
    """

    rung: str
    parameters: int | None
    flops: float | None
    reference_flops: float | None
    train_s: float | None
    tokens: int

    @property
    def compute(self) -> float | None:
        """How much more FLOPs per token it takes than the reference, in percent."""
        if self.flops is None or not self.reference_flops:
            return None
        return 100.0 * (self.flops / self.reference_flops - 1)

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        return {
            "parameters": self.parameters,
            "flops_per_token": self.flops,
            "compute_percent": self.compute,
            "train_s": self.train_s,
            "tokens": self.tokens,
        }


class Costs:
    """Reads costs.  Those of the lowest rung are at hand, others stand in the check's report."""

    def __init__(self, store: Store, reference: int | None) -> None:
        self._store = store
        self._lowest = scale_names(store)[0]
        self._reference: Mapping[str, float] = {}
        if reference is not None:
            self._reference = store.report(reference).measurements.flops_per_token

    def of(self, design: DesignRow, scale: str, training: VerificationRow) -> Cost:
        """Return what a training of a design at a scale took."""
        parameters, flops = design.parameters, design.flops
        if scale != self._lowest or parameters is None:
            measured = self._store.report(design.id).measurements
            fit = measured.fits.get(scale)
            parameters = None if fit is None else fit.parameters
            flops = measured.flops_per_token.get(scale)
        return Cost(
            scale,
            None if parameters is None else int(parameters),
            flops,
            self._reference.get(scale),
            number(training.facts, "train_s") if "train_s" in training.facts else None,
            training.tokens,
        )
