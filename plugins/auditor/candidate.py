"""The judge's handle of a block under test: asks the process that runs it, and believes little.

What decides is computed here, from outputs and gradients for inputs that were drawn here.  What
only the other side can know (names, counts, who did it) is its word: its form is checked, it is
bounded, and it names or warns, but excuses nothing.  `served` is the other side.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from genesys_engine.plugins.auditor import SERVED
from genesys_engine.plugins.auditor.untouched import PatchedError
from genesys_engine.plugins.sandbox.subject import Asked, BadAnswer, SameProcess

Form = Literal["plain", "pairs", "adapted"]
_ENOUGH = 8  # things that nobody holds, until they are let go
_MAX_SIZE = 1 << 62
_NAMES = 20_000


class AnswerError(Exception):
    """An output is not of the form that every block promises; `code` is that of the finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Parameter:
    """A parameter as its block's process describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    trainable: bool

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """How many inputs each of its outputs sums; 4 for vectors."""
        return self.count // max(1, self.shape[0]) if len(self.shape) > 1 else 4


@dataclass(eq=False)
class Model:
    """A block or a model that was built in the other process; `unit` is the class it is of.

    It is let go there when nobody holds this any more.  One that is `steady` keeps its buffers in
    train mode too, so that what was asked before is still its answer.
    """

    number: int
    unit: str
    parameters: tuple[Parameter, ...] = field(repr=False)
    training: bool = True
    steady: bool = False

    def train(self, mode: bool = True) -> Model:
        """Have the next runs be in train mode, or in eval mode."""
        self.training = mode
        return self

    def eval(self) -> Model:
        """Have the next runs be in eval mode."""
        return self.train(False)


@dataclass(eq=False)
class Trace:
    """A run whose every call was kept in the other process."""

    number: int


class Candidate:
    """Asks the process of a block."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._dropped: list[int] = []

    def load(
        self,
        source: str,
        class_name: str = "Block",
        *,
        form: Form = "plain",
        whole_torch: bool = False,
    ) -> bool:
        """Have a source run; tell whether the class is a module's.

        With `whole_torch` after what `lean_torch` has left out, if it has.

        Raises:
            SubjectRaised: the source raises.
        """
        answer, _ = self.ask(
            "load", source=source, class_name=class_name, form=form, whole_torch=whole_torch
        )
        return truth(answer, "module")

    def build(self, kind: str, **given: Any) -> Model:
        """Have something built."""
        answer, _ = self.ask(f"build_{kind}", **given)
        rows = answer.get("parameters")
        if not isinstance(rows, list) or len(rows) > _NAMES:
            raise BadAnswer("a module without parameters")
        parameters = tuple(_parameter(row) for row in rows)
        model = Model(number(answer, "number"), text(answer, "unit"), parameters)
        self._let_go_with(model)
        return model

    def trace(self, model: Model, *tensors: Tensor, **given: Any) -> Trace:
        """Have a run traced."""
        answer, _ = self.of(model, "trace", *tensors, **given)
        trace = Trace(number(answer, "number"))
        self._let_go_with(trace)
        return trace

    def of(
        self, model: Model, operation: str, *tensors: Tensor, **given: Any
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Ask something of a model, in its present mode."""
        how = {"training": model.training, "steady": model.steady}
        return self.ask(operation, *tensors, model=model.number, **how, **given)

    def ask(
        self, operation: str, *tensors: Tensor, **given: Any
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Ask for an operation of `served`.

        Raises:
            SubjectRaised, MemoryError: as `sandbox.subject.Asked` says.
            PatchedError: a class was changed there that others rely on.
        """
        if len(self._dropped) >= _ENOUGH:
            dropped, self._dropped[:] = list(self._dropped), []
            self._asked.ask("drop", {"numbers": dropped})
        answer, made = self._asked.ask(operation, given, tensors)
        if "patched" in answer:
            raise PatchedError(text(answer, "patched"))
        return answer, made

    def _let_go_with(self, held: Model | Trace) -> None:
        weakref.finalize(held, self._dropped.append, held.number)


def here(source: str = "", class_name: str = "Block", *, form: Form = "pairs") -> Candidate:
    """Return a candidate that runs in this very process: for trusted code, and for tests."""
    candidate = Candidate(SameProcess(SERVED, Path()))
    if source:
        candidate.load(source, class_name, form=form)
    return candidate


def only(made: Sequence[Tensor], count: int = 1) -> Sequence[Tensor]:
    """Return tensors of an answer that should have so many.

    Raises:
        BadAnswer: it has not.
    """
    if len(made) != count:
        raise BadAnswer(f"{len(made)} tensors in the place of {count}")
    return made


def found(answer: dict[str, Any], made: Sequence[Tensor], count: int) -> list[Tensor | None]:
    """Return `count` tensors of an answer of which some may be missing."""
    there = answer.get("found")
    if not isinstance(there, list) or len(there) != count or sum(map(bool, there)) != len(made):
        raise BadAnswer("tensors that are not those that were asked for")
    given = iter(made)
    return [next(given) if each else None for each in there]


def number(answer: dict[str, Any], name: str) -> int:
    """Return a whole number of an answer, not below 0."""
    value = answer.get(name)
    if type(value) is not int or not 0 <= value < _MAX_SIZE:
        raise BadAnswer(f"{name} that is no number")
    return value


def text(answer: dict[str, Any], name: str) -> str:
    """Return a short text of an answer."""
    return _text(answer.get(name))


def truth(answer: dict[str, Any], name: str) -> bool:
    """Return a truth value of an answer."""
    value = answer.get(name)
    if type(value) is not bool:
        raise BadAnswer(f"{name} that is neither true nor false")
    return value


def rows(
    answer: dict[str, Any], name: str, *kinds: type | tuple[type, ...]
) -> list[tuple[Any, ...]]:
    """Return the rows of an answer, each made of such kinds."""
    value = answer.get(name)
    if not isinstance(value, list) or len(value) > _NAMES:
        raise BadAnswer(f"{name} that are no list")
    for row in value:
        if not isinstance(row, list) or len(row) != len(kinds):
            raise BadAnswer(f"{name} that are no rows")
        for part, kind in zip(row, kinds, strict=True):
            if not isinstance(part, kind) or (isinstance(part, str) and part != _text(part)):
                raise BadAnswer(f"{name} of another kind")
    return [tuple(row) for row in value]


def shapes(answer: dict[str, Any], name: str) -> list[tuple[int, ...]]:
    """Return shapes of an answer."""
    value = answer.get(name)
    if not isinstance(value, list) or len(value) > _NAMES:
        raise BadAnswer(f"{name} that are no list")
    return [_shape(each) for each in value]


def names(answer: dict[str, Any], name: str) -> list[str]:
    """Return names of an answer."""
    value = answer.get(name)
    if not isinstance(value, list) or len(value) > _NAMES:
        raise BadAnswer(f"{name} that are no list")
    return [_text(each) for each in value]


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable():
        raise BadAnswer("a name that is none")
    return value


def _parameter(row: Any) -> Parameter:
    if not isinstance(row, list) or len(row) != 5 or not isinstance(row[1], list):
        raise BadAnswer("a parameter of no known form")
    name, shape, dtype, device, trainable = row
    if type(trainable) is not bool:
        raise BadAnswer("a parameter of no known form")
    return Parameter(_text(name), _shape(shape), _text(dtype), _text(device), trainable)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < _MAX_SIZE for n in value):
        raise BadAnswer("a parameter of no shape")
    return tuple(value)
