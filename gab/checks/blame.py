"""Which unit did it?  Two runs are traced, and the first unit with clean inputs is named.

Units finish children first.  The one to blame is the first that was given equal inputs in both
runs and returned different outputs, where "equal" looks only at the part that should not
change (the prefix in time, one sequence of the batch, everything).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.numbers import difference
from genesys_engine.gab.checks.sourcemap import Place, SourceMap

# A part of a unit's value that should be equal in both runs; None where it has no such part.
View = Callable[[Tensor], Tensor | None]


@dataclass(frozen=True)
class Call:
    """One call of a unit: what it was given and what it returned."""

    place: Place
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def trace(model: nn.Module, source: SourceMap, run: Callable[[], object]) -> list[Call]:
    """Call `run` and return the calls of all units of `model` in the order of their ends."""
    calls: list[Call] = []

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given = _tensors(args) + _tensors(kwargs)
        calls.append(Call(source.place_of_class(module), given, _tensors(output)))

    handles = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in model.modules()
        if source.is_unit(module)
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def first_different(
    runs: tuple[list[Call], list[Call]], views: tuple[View, View], tolerance: float
) -> Place:
    """Return the unit that turned inputs equal under `views` into outputs that are not."""
    for a, b in zip(*runs, strict=False):
        if _equal(a.inputs, b.inputs, views, tolerance) and not _equal(
            a.outputs, b.outputs, views, tolerance
        ):
            return a.place
    return None, None


def first_nonfinite(calls: list[Call]) -> Place:
    """Return the unit that turned finite inputs into outputs that are not."""
    for call in calls:
        if _finite(call.inputs) and not _finite(call.outputs):
            return call.place
    return None, None


def whole(tensor: Tensor) -> Tensor:
    """View everything."""
    return tensor


def prefix(cut: int, length: int) -> View:
    """View the positions before `cut` of a tensor whose second dimension is time."""

    def view(tensor: Tensor) -> Tensor | None:
        if tensor.dim() < 2 or tensor.shape[1] != length:
            return None
        return tensor[:, :cut]

    return view


def first_sequence(batch: int) -> View:
    """View the first sequence of the batch, also where heads were folded into it."""

    def view(tensor: Tensor) -> Tensor | None:
        if tensor.dim() < 2 or tensor.shape[0] % batch:
            return None
        return tensor[: tensor.shape[0] // batch]

    return view


def _equal(
    a: tuple[Tensor, ...], b: tuple[Tensor, ...], views: tuple[View, View], tolerance: float
) -> bool:
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        part, other = views[0](x), views[1](y)
        if part is None or other is None:
            continue
        if not difference(part, other) <= tolerance:
            return False
    return True


def _finite(tensors: tuple[Tensor, ...]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)


def _tensors(value: Any) -> tuple[Tensor, ...]:
    """Return every floating tensor in a nest of tuples, lists and mappings, detached copies."""
    if isinstance(value, Tensor):
        return (value.detach().clone(),) if value.is_floating_point() else ()
    if isinstance(value, Mapping):
        return tuple(t for key in sorted(value, key=str) for t in _tensors(value[key]))
    if isinstance(value, tuple | list):
        return tuple(t for item in value for t in _tensors(item))
    return ()
