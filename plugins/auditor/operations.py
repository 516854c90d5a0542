"""Every operation of PyTorch that a model runs, with the line of the block that asked for it.

From two runs whose outputs should be equal in some part, and are not, the operation is found that
turned what was equal into what is not: back from the output through all that differs, to the
first operation that was given nothing wrong.  Only a block that has failed is looked at in this
way, so no sound block pays for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genesys_engine.plugins.auditor.numbers import difference

View = Callable[[Tensor], Tensor | None]
"""A part of a value that should be equal in both runs; None where it has no such part."""

_MAX_NUMBERS = 1 << 25  # numbers that one run may keep: 256 MB in fp64
# They only move values about: what comes in wrong goes out wrong, and nothing else does.
_LAYOUT_WORDS = (
    "_reshape_alias _to_copy _unsafe_view alias as_strided cat chunk clone constant_pad_nd "
    "contiguous copy_ detach expand lift_fresh narrow permute repeat reshape select slice split "
    "split_with_sizes squeeze stack t transpose unbind unfold unsafe_split unsqueeze view "
    "view_as_complex view_as_real "
)
_LAYOUT = frozenset(_LAYOUT_WORDS.split())


@dataclass(frozen=True)
class Operation:
    """One operation: its name, line, and copies of what it was given and what it gave.

    `sources` and `results` are the storages of the tensors, which tell who made what.
    """

    name: str
    line: int | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sources: tuple[int, ...]
    results: tuple[int, ...]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records all operations while it is on and not `paused`.

    With `without_detached`, what the block detaches is nothing: a value that only cancels what
    has a gradient then shows.
    """

    def __init__(self, is_ours: Callable[[str], bool], *, without_detached: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._without_detached = without_detached
        self.operations: list[Operation] = []
        self.paused = False
        self._is_ours, self._known = is_ours, dict[str, bool]()
        self._kept = 0
        self._alive: list[Tensor] = []  # so that no storage is made twice at one address

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused or self._kept > _MAX_NUMBERS:
            return func(*args, **kwargs)
        given = _tensors((args, kwargs))
        before = tuple(map(_copy, given))
        reply = func(*args, **kwargs)
        name = func._overloadpacket.__name__
        if name == "detach" and self._without_detached:
            reply = torch.zeros_like(reply)
        made = _tensors(reply)
        copies = tuple(map(_copy, made))
        self._kept += sum(t.numel() for t in (*before, *copies))
        self._alive += [*given, *made]
        self.operations.append(
            Operation(name, self._line(), before, copies, storages(given), storages(made))
        )
        return reply

    def _line(self) -> int | None:
        """Return the innermost line of the block's source on the stack."""
        frame = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if file not in self._known:
                self._known[file] = self._is_ours(file)
            if self._known[file]:
                return frame.f_lineno
            frame = frame.f_back  # type: ignore[assignment]
        return None


def storages(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Return what tells which tensors share their memory."""
    return tuple(t.untyped_storage()._cdata for t in tensors)


def first_different(
    runs: tuple[Sequence[Operation], Sequence[Operation]],
    views: tuple[View, View],
    tolerance: float,
    results: Sequence[int],
) -> int | None:
    """Return the line of the operation that made the storages `results` of the first run differ.

    Where no operation did, the runs took different ways: the line at which they part.
    """
    pairs = list(_aligned(*runs))
    states = [_Pair(one, other, views, tolerance) for one, other in pairs]
    line = _origin([(one, state) for (one, _), state in zip(pairs, states, strict=True)], results)
    if line is None and len(pairs) < max(map(len, runs)):
        following = [run[len(pairs)] for run in runs if len(run) > len(pairs)]
        return next((each.line for each in following if each.line), None)
    return line


def first_nonfinite(run: Sequence[Operation], results: Sequence[int]) -> int | None:
    """Return the line of the operation that made NaN or infinity of finite values.

    Minus infinity is a mask, and no fault of whoever makes it.
    """
    return _origin([(one, _Values(one)) for one in run], results)


class _Pair:
    """How the inputs and outputs of one operation differ between two runs."""

    def __init__(
        self, one: Operation, other: Operation, views: tuple[View, View], tolerance: float
    ) -> None:
        self._views, self._tolerance = views, tolerance
        self.inputs = [self._state(*both) for both in zip(one.inputs, other.inputs, strict=True)]
        self.outputs = [self._state(*both) for both in zip(one.outputs, other.outputs, strict=True)]

    def _state(self, one: Tensor, other: Tensor) -> str:
        """Return "same", "wrong" (in the part that should be equal) or "other" (without one)."""
        part, counterpart = self._views[0](one), self._views[1](other)
        if part is None or counterpart is None or part.shape != counterpart.shape:
            equal = one.shape == other.shape and self._equal(one, other)
            return "same" if equal else "other"
        return "same" if self._equal(part, counterpart) else "wrong"

    def _equal(self, one: Tensor, other: Tensor) -> bool:
        if not (one.is_floating_point() or one.is_complex()):
            return torch.equal(one, other)
        # Masks of minus infinity are equal, and their difference is NaN.
        return torch.equal(one, other) or difference(one, other) <= self._tolerance


class _Values:
    """Whether the inputs and outputs of one operation are finite, but for minus infinity."""

    def __init__(self, one: Operation) -> None:
        self.inputs, self.outputs = (
            [_spoilt(t) for t in each] for each in (one.inputs, one.outputs)
        )


def _spoilt(tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        return "same"
    return "wrong" if bool((tensor.isnan() | tensor.isposinf()).any()) else "same"


def _origin(run: Sequence[tuple[Operation, _Pair | _Values]], results: Sequence[int]) -> int | None:
    """Walk back from the storages `results` through all that is not the same.

    Returns the line of the first operation there that made it of what was right: of inputs that
    are the same, that nothing of this run made, or that were only moved about.
    """
    wanted, involved = set(results), []
    for operation, state in reversed(run):
        if wanted.isdisjoint(operation.results) or not _differs(state.outputs):
            continue
        involved.append((operation, state))
        named = zip(operation.sources, state.inputs, strict=True)
        wanted |= {source for source, how in named if how != "same"}
    made: set[int] = set()
    moved: set[int] = set()
    for operation, state in reversed(involved):
        named = zip(operation.sources, state.inputs, strict=True)
        right = all(how == "same" or source not in made or source in moved for source, how in named)
        only_moves = operation.name in _LAYOUT and "wrong" not in state.outputs
        made.update(operation.results)
        if right and only_moves:
            moved.update(operation.results)
        elif right and operation.line:
            return operation.line
        else:
            moved.difference_update(operation.results)
    return next((operation.line for operation, _ in reversed(involved) if operation.line), None)


def _differs(states: Sequence[str]) -> bool:
    return any(state != "same" for state in states)


def _aligned(
    one: Sequence[Operation], other: Sequence[Operation]
) -> Iterator[tuple[Operation, Operation]]:
    """Yield the operations of both runs as long as they are the same."""
    for a, b in zip(one, other, strict=False):
        same = a.name == b.name and a.line == b.line
        if not same or (len(a.inputs), len(a.outputs)) != (len(b.inputs), len(b.outputs)):
            return
        yield a, b


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()
