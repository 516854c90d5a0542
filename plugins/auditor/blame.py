"""Who did it?  Two runs are traced, and the first unit with clean inputs is named, with the line.

Units finish children first.  The one to blame is the first that was given equal inputs in both
runs and returned different outputs, where "equal" looks only at the part that should not
change (the prefix in time, one sequence of the batch, everything).  The line is that of the
operation in it whose output is the first to differ.

This runs where the block does: who is named is evidence for its author, and no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.sourcemap import Place, SourceMap
from genesys_engine.plugins.auditor import operations
from genesys_engine.plugins.auditor.numbers import difference
from genesys_engine.plugins.auditor.operations import Operation, Recorder, View, storages


@dataclass(frozen=True)
class Call:
    """One call of a unit: what it was given and what it returned.

    `operations` are those of the whole run until then, and `results` the storages of the outputs.
    """

    place: Place
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    source: SourceMap
    operations: Sequence[Operation] = ()
    results: tuple[int, ...] = ()

    def place_of(self, line: int | None) -> Place:
        """Return the place of a line that was reached in this call; the unit's where unknown."""
        if line is None:
            return self.place
        return self.source.place_of_line(line)[0] or self.place[0], line


def is_unit(source: SourceMap, module: nn.Module) -> bool:
    """Tell whether the class of `module` stands in the source."""
    library = type(module).__module__.startswith(("torch.", "genesys_engine."))
    return source.is_class(type(module).__name__) and not library


def trace(
    model: nn.Module,
    source: SourceMap,
    run: Callable[[], object],
    *,
    without_detached: bool = False,
) -> list[Call]:
    """Call `run` and return the calls of all units of `model` in the order of their ends."""
    recorder = Recorder(source.is_ours, without_detached=without_detached)
    try:
        return _calls(model, source, run, recorder)
    except RuntimeError:  # an operation that cannot be recorded (NotImplementedError is one)
        return _calls(model, source, run, None)


def _calls(
    model: nn.Module, source: SourceMap, run: Callable[[], object], recorder: Recorder | None
) -> list[Call]:
    calls: list[Call] = []

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        with _paused(recorder):
            given = _floating(args) + _floating(kwargs)
            place = source.place_of_class(type(module).__name__)
            seen = tuple(recorder.operations) if recorder else ()
            made = storages(_floating(output))
            calls.append(
                Call(place, _copies(given), _copies(_floating(output)), source, seen, made)
            )

    handles = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in model.modules()
        if is_unit(source, module)
    ]
    try:
        with recorder or nullcontext():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return calls


@contextmanager
def _paused(recorder: Recorder | None) -> Iterator[None]:
    if recorder is None:
        yield
        return
    recorder.paused = True
    try:
        yield
    finally:
        recorder.paused = False


def first_different(
    runs: tuple[list[Call], list[Call]], views: tuple[View, View], tolerance: float
) -> Place:
    """Return the unit that turned inputs equal under `views` into outputs that are not."""
    for a, b in zip(*runs, strict=False):
        if _equal(a.inputs, b.inputs, views, tolerance) and not _equal(
            a.outputs, b.outputs, views, tolerance
        ):
            both = a.operations, b.operations
            return a.place_of(operations.first_different(both, views, tolerance, a.results))
    return None, None


def first_nonfinite(calls: list[Call]) -> Place:
    """Return the unit that turned finite inputs into outputs that are not."""
    for call in calls:
        if _finite(call.inputs) and not _finite(call.outputs):
            return call.place_of(operations.first_nonfinite(call.operations, call.results))
    return None, None


def whole(tensor: Tensor) -> Tensor:
    """View everything."""
    return tensor


def prefix(cut: int, length: int) -> View:
    """View the positions before `cut` of a tensor, in every dimension that is time.

    One of that size that stands last, and alone, are the channels of a model as wide as long.
    """

    def view(tensor: Tensor) -> Tensor | None:
        times = [at for at, size in enumerate(tensor.shape) if size == length]
        if not times or (tensor.dim() > 2 and times == [tensor.dim() - 1]):
            return None
        return tensor[tuple(slice(cut if size == length else None) for size in tensor.shape)]

    return view


def sequences(rows: list[int], batch: int) -> View:
    """View some sequences of the batch, also where heads were folded into it."""

    def view(tensor: Tensor) -> Tensor | None:
        if tensor.dim() < 2 or tensor.shape[0] % batch:
            return None
        return tensor.reshape(batch, -1, *tensor.shape[1:])[rows]

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


def _floating(value: Any) -> tuple[Tensor, ...]:
    """Return every floating tensor in a nest of tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return (value,) if value.is_floating_point() else ()
    if isinstance(value, Mapping):
        return tuple(t for key in sorted(value, key=str) for t in _floating(value[key]))
    if isinstance(value, tuple | list):
        return tuple(t for item in value for t in _floating(item))
    return ()


def _copies(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().clone() for tensor in tensors)
