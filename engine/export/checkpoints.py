"""Which trained weights of a run are there to be exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.engine.store.checkpoints import CHECKPOINTS, checkpoint_name
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.store.run_store import Store, VerificationRow
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.registry import suggest

MOST_NAMED = 12


@dataclass(frozen=True)
class Weights:
    """The weights of one verification."""

    row: VerificationRow
    scale: str
    path: Path


def find_weights(
    store: Store, design: int, scale: str | None = None, replicate: int | None = None
) -> Weights:
    """Return the weights of `design`: of the highest rung and the first training seed by default.

    Raises:
        InputError: no such design or scale in the run, or no weights were kept for it; the hint
            names what there is.
    """
    store.design(design)
    scales = scale_names(store)
    if scale is not None and scale not in scales:
        raise InputError(f"this run has no rung {scale!r}", hint=suggest(scale, scales))
    kept = [
        weights
        for weights in _kept(store, scales, design)
        if scale in (None, weights.scale) and replicate in (None, weights.row.replicate)
    ]
    if not kept:
        raise _nothing(store, scales, design, scale, replicate)
    return max(kept, key=lambda weights: (weights.row.rung, -weights.row.replicate))


def _kept(store: Store, scales: Sequence[str], design: int | None = None) -> list[Weights]:
    """Return the good verifications whose weights lie in the run's folder."""
    found = []
    for row in store.verifications(design):
        path = store.folder / CHECKPOINTS / checkpoint_name(row.design, row.rung, row.replicate)
        if row.status == "ok" and path.is_file():
            found.append(Weights(row, scales[row.rung], path))
    return found


def _nothing(
    store: Store, scales: Sequence[str], design: int, scale: str | None, replicate: int | None
) -> InputError:
    """Return the error that says what there is instead."""
    asked = f"design {design}" + (f" at {scale}" if scale else "")
    asked += "" if replicate is None else f" with training seed {replicate}"
    own = _kept(store, scales, design)
    if own:
        named = [f"{w.scale} seed {w.row.replicate}" for w in own]
        hint = f"design {design} has weights at: {', '.join(named[:MOST_NAMED])}"
    else:
        numbers = sorted({w.row.design for w in _kept(store, scales)})
        named = [str(number) for number in numbers[:MOST_NAMED]]
        more = ", ..." if len(numbers) > MOST_NAMED else ""
        hint = (
            f"designs with weights: {', '.join(named)}{more}"
            if named
            else "this run has no weights; only successful verifications save them"
        )
    return InputError(f"{asked} has no trained weights", where=str(store.folder), hint=hint)
