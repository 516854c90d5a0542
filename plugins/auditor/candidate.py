"""The judge's handle of a block under test: asks the process that runs it, and believes little.

What decides is computed here, from outputs and gradients for inputs that were drawn here.  What
only the other side can know (names, counts, who did it) is its word: its form is checked, it is
bounded, and it names or warns, but excuses nothing.  `served` is the other side.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor

from genesys_engine.plugins.auditor import SERVED
from genesys_engine.plugins.auditor.numbers import fan_in
from genesys_engine.plugins.auditor.untouched import PatchedError
from genesys_engine.plugins.sandbox.subject import (
    Asked,
    BadAnswer,
    Question,
    Reply,
    SameProcess,
)

T = TypeVar("T")
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
        """How many inputs each of its outputs sums."""
        return fan_in(self.shape)


@dataclass(frozen=True)
class Asking(Generic[T]):
    """A question that was not asked yet, and how its answer is read."""

    question: Question
    read: Callable[[dict[str, Any], list[Tensor]], T]


class Model:
    """A block or a model in the other process, built with the next question that is asked.

    It is let go there when nobody holds this any more.  One that is `steady` keeps its buffers in
    train mode too, so that what was asked before is still its answer.
    """

    def __init__(self, number: int, settle: Callable[[], None]) -> None:
        self.number = number
        self.training = True
        self.steady = False
        self._settle = settle
        self._described: tuple[str, tuple[Parameter, ...]] | None = None

    @property
    def unit(self) -> str:
        """The class it is of."""
        return self._known[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters.

        Raises:
            SubjectRaised: the block raises as it is built.
        """
        return self._known[1]

    @property
    def _known(self) -> tuple[str, tuple[Parameter, ...]]:
        if self._described is None:
            self._settle()
        assert self._described is not None, "it was built"
        return self._described

    def describe(self, answer: dict[str, Any], made: Sequence[Tensor]) -> None:
        """Take note of what was built."""
        rows = answer.get("parameters")
        if not isinstance(rows, list) or len(rows) > _NAMES:
            raise BadAnswer("a module without parameters")
        self._described = text(answer, "unit"), tuple(_parameter(row) for row in rows)

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
    """Asks the process of a block.

    Whatever is built there is known by a number that is given out here.  What has no answer that
    matters now waits for the next question, and goes with it: a message costs both sides more than
    many operations do.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._dropped: list[int] = []
        self._waiting: list[Asking[None]] = []
        self._count = 0

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
        """Have something built, with the next question at the latest."""
        model = Model(self.new_number(), self.settle)
        question = Question(f"build_{kind}", {**given, "number": model.number})
        self._waiting.append(Asking(question, model.describe))
        weakref.finalize(model, self._dropped.append, model.number)
        return model

    def trace(self, model: Model, *tensors: Tensor, **given: Any) -> Trace:
        """Have a run traced."""
        trace = Trace(self.new_number())
        self.of(model, "trace", *tensors, number=trace.number, **given)
        weakref.finalize(trace, self._dropped.append, trace.number)
        return trace

    def to_ask(self, model: Model, operation: str, *tensors: Tensor, **given: Any) -> Question:
        """Return a question about a model, in its present mode."""
        how = {"training": model.training, "steady": model.steady}
        return Question(operation, {"model": model.number, **how, **given}, tensors)

    def of(self, model: Model, operation: str, *tensors: Tensor, **given: Any) -> Reply:
        """Ask something of a model, in its present mode."""
        return next(self.ask_all([self.to_ask(model, operation, *tensors, **given)]))

    def have(self, model: Model, operation: str, *tensors: Tensor, **given: Any) -> None:
        """Have something done to a model before the next question."""
        self._waiting.append(silent(self.to_ask(model, operation, *tensors, **given)))

    def have_done(self, operation: str, *tensors: Tensor, **given: Any) -> None:
        """Have something done before the next question."""
        self._waiting.append(silent(Question(operation, given, tensors)))

    def ask(self, operation: str, *tensors: Tensor, **given: Any) -> Reply:
        """Ask for an operation of `served`.

        Raises:
            SubjectRaised, MemoryError: as `sandbox.subject.Asked` says.
            PatchedError: a class was changed there that others rely on.
        """
        return next(self.ask_all([Question(operation, given, tensors)]))

    def answers(self, askings: Sequence[Asking[T]]) -> Iterator[T]:
        """Ask several questions in one message; what one raises is raised in its place."""
        replies = self.ask_all([each.question for each in askings])
        return (each.read(*reply) for each, reply in zip(askings, replies, strict=True))

    def ask_all(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Ask several questions in one message; see `Asked.ask_all` and `ask`."""
        waiting, self._waiting = self._waiting, []
        if len(self._dropped) >= _ENOUGH:
            dropped, self._dropped[:] = list(self._dropped), []
            waiting.append(silent(Question("drop", {"numbers": dropped})))
        if not (waiting or questions):
            return iter(())
        replies = map(_unpatched, self._asked.ask_all([*(w.question for w in waiting), *questions]))
        for each in waiting:
            each.read(*next(replies))
        return replies

    def settle(self) -> None:
        """Have done what waits for the next question."""
        list(self.ask_all([]))

    def new_number(self) -> int:
        """Return the number of a model, a trace or a note that is to be made there."""
        self._count += 1
        return self._count


def _unpatched(reply: Reply) -> Reply:
    if "patched" in reply[0]:
        raise PatchedError(text(reply[0], "patched"))
    return reply


def silent(question: Question) -> Asking[None]:
    """Return what is asked without looking at the answer."""
    return Asking(question, lambda answer, made: None)


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
