"""The process that runs a candidate's code, and the handle of the one that judges it.

A job whose limits name a `subject` is two processes, forked from the same template and confined
alike: the *judge*, which runs the job's function and never a candidate's code, and the *subject*,
which runs that code and nothing that decides.  The judge asks: an operation by name, arguments as
JSON, tensors; the subject answers with the same, or with what it raised (`raised.Raised`).  It has
no pipe for the reply, no payload, no file but the installation, its own folder and what
`Limits.subject_readable` lists: it can answer wrongly, and no more.

A job's function gets the handle as its third argument: `function(payload, scratch, subject)`.  The
limits' `subject`, "module:function", is called in the subject as `function(scratch)` and returns
the operations by name, each `operation(arguments, tensors) -> (answer, tensors)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genesys_engine.gab import raised
from genesys_engine.gab.raised import Raised
from genesys_engine.plugins.sandbox.channel import Channel
from genesys_engine.plugins.sandbox.protocol import Limits

if TYPE_CHECKING:
    from torch import Tensor

SUBJECT_FOLDER = "subject"
"""The subject's scratch folder, inside that of the job."""

Answer = tuple[Mapping[str, Any], Sequence["Tensor"]]
Operation = Callable[[dict[str, Any], list["Tensor"]], Answer]
Operations = Mapping[str, Operation]


class SubjectRaised(Exception):
    """An operation raised; `raised` says what."""

    def __init__(self, what: Raised) -> None:
        super().__init__(str(what))
        self.raised = what


class SubjectStopped(BaseException):
    """An operation raised what is no `Exception` (`SystemExit`): the job ends with it."""


class SubjectEnded(BaseException):
    """The subject is gone.  A job that lets this pass ends as its subject did.

    (Crashed, out of memory or out of time; no `except Exception` may take it for an answer.)
    `number` says which one, from 0.
    """

    def __init__(self, number: int) -> None:
        super().__init__("the candidate's process is gone")
        self.number = number


class BadAnswer(BaseException):
    """What came is no answer of the agreed form: the job fails with `bad_reply`."""


@dataclass(frozen=True)
class Question:
    """An operation that is to run, with what it is given."""

    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tensors: Sequence[Tensor] = ()


Reply = tuple[dict[str, Any], list["Tensor"]]
"""What an operation answered, and its tensors."""


class Asked(Protocol):
    """Whoever answers: a process of its own, or in tests this one."""

    def ask(
        self,
        operation: str,
        arguments: Mapping[str, Any] | None = None,
        tensors: Sequence[Tensor] = (),
    ) -> Reply:
        """Have an operation run; return its answer and tensors.

        Raises:
            MemoryError: the subject was refused memory.
            SubjectRaised: the operation raised.
            SubjectStopped, SubjectEnded, BadAnswer: there is no answer.
        """
        (reply,) = self.ask_all([Question(operation, arguments or {}, tensors)])
        return reply

    def ask_all(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Have operations run one after the other, in one message; return their replies in order.

        Each message costs both processes a wait, and what their caches held.  The first operation
        that raises is the last that runs; what it raises, as for `ask`, is raised in its place.

        Raises:
            SubjectEnded, BadAnswer: there are no answers.
        """

    def end(self) -> None:
        """Have it end, where it is a process of its own: nothing more is asked."""


class SubjectProcess(Asked):
    """The judge's handle of a subject, the `number`th of its job."""

    def __init__(self, channel: Channel, number: int = 0) -> None:
        self._channel = channel
        self._number = number

    def await_start(self) -> None:
        """Wait until the subject is confined.

        Raises:
            SubjectEnded, BadAnswer: it never was.
        """
        self._receive()

    def ask_all(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """See `Asked`."""
        asked = [
            {"operation": q.operation, "arguments": q.arguments, "tensors": len(q.tensors)}
            for q in questions
        ]
        try:
            self._channel.send({"questions": asked}, [t for q in questions for t in q.tensors])
        except (OSError, EOFError) as error:
            raise SubjectEnded(self._number) from error
        message, received = self._receive()
        if set(message) != {"answers", "counts", "raised"}:
            raise BadAnswer("neither answers nor an exception")
        failed = _raised(message["raised"])
        answers, counts = _checked_answers(message, len(received))
        if len(answers) != len(questions) and (failed is None or len(answers) > len(questions)):
            raise BadAnswer(f"{len(answers)} answers to {len(questions)} questions")
        left = iter(received)
        pairs = zip(answers, counts, strict=True)
        return _before([(answer, list(islice(left, count))) for answer, count in pairs], failed)

    def end(self) -> None:
        """Have the subject end, and wait until it has left; see `Asked`."""
        self._channel.end()

    def _receive(self) -> tuple[dict[str, Any], list[Tensor]]:
        try:
            return self._channel.receive()
        except (OSError, EOFError) as error:
            raise SubjectEnded(self._number) from error
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"the candidate's answer is malformed: {error}") from error


def _raised(given: Any) -> BaseException | None:
    """Return what is to be raised for what a message says was, None for nothing."""
    if given is None:
        return None
    try:
        return as_error(raised.read(given))
    except (ValueError, TypeError, KeyError) as error:
        raise BadAnswer(f"an exception of no known form: {error!r:.200}") from error


def _checked_answers(message: dict[str, Any], received: int) -> tuple[list[Any], list[int]]:
    """Return the answers of a message, and how many of the tensors are each one's."""
    answers, counts = message["answers"], message["counts"]
    if not isinstance(answers, list) or not all(isinstance(each, dict) for each in answers):
        raise BadAnswer("answers of no known form")
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise BadAnswer("counts of tensors that are none")
    if len(counts) != len(answers) or sum(counts) != received:
        raise BadAnswer("tensors that belong to no answer")
    return answers, counts


def _before(replies: Sequence[Reply], error: BaseException | None) -> Iterator[Reply]:
    """Yield replies, and raise what came after them."""
    yield from replies
    if error is not None:
        raise error


class SameProcess(Asked):
    """Runs the operations in this very process: for trusted code, and for tests of them."""

    def __init__(self, target: str, scratch: Path) -> None:
        self._operations = _operations(target, scratch)

    def ask_all(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """See `Asked`."""
        replies: list[Reply] = []
        failed: BaseException | None = None
        for each in questions:
            try:
                answer, made = self._operations[each.operation](
                    dict(each.arguments), list(each.tensors)
                )
            except BaseException as error:
                what = raised.describe(error)
                if "Exception" not in what.kinds:
                    raise
                failed = as_error(what)
                failed.__cause__ = error
                break
            replies.append((dict(answer), [tensor.detach() for tensor in made]))
        return _before(replies, failed)

    def end(self) -> None:
        """Forget the operations; see `Asked`."""
        self._operations = {}


def run_here(
    target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
) -> dict[str, Any]:
    """Return what a job's function returns, with its subjects, if any, in this very process.

    For executors that isolate nothing: there a verdict is worth what the candidate is.
    """
    count = limits.subjects if limits.subject else 0
    subjects = [SameProcess(limits.subject, scratch) for _ in range(count)]
    module, _, name = target.partition(":")
    value: dict[str, Any] = getattr(import_module(module), name)(dict(payload), scratch, *subjects)
    return value


def as_error(what: Raised) -> BaseException:
    """Return what is raised here for what was raised there."""
    if what.memory:
        return MemoryError(what.text)
    if "Exception" not in what.kinds:
        return SubjectStopped(str(what))
    return SubjectRaised(what)


def serve(target: str, scratch: Path, channel: Channel) -> None:
    """Answer until the judge is gone; the operations' module is imported here."""
    channel.send({"ready": True})
    operations: Operations | None = None
    while True:
        try:
            message, tensors = channel.receive()
        except (EOFError, OSError):
            return
        try:
            if operations is None:  # now: what they raise is an answer too
                operations = _operations(target, scratch)
            channel.send(*_answers(operations, message["questions"], tensors))
        except (EOFError, ConnectionError):
            return
        except BaseException as error:
            channel.send({"answers": [], "counts": [], "raised": raised.describe(error).to_json()})
        del tensors


def _answers(
    operations: Operations, questions: Sequence[Mapping[str, Any]], tensors: Sequence[Tensor]
) -> tuple[dict[str, Any], list[Tensor]]:
    """Return the message with the answers to some questions, and their tensors."""
    given = iter(tensors)
    made: list[Tensor] = []
    message: dict[str, Any] = {"answers": [], "counts": [], "raised": None}
    for each in questions:
        inputs = list(islice(given, each["tensors"]))
        try:
            answer, outputs = operations[each["operation"]](each["arguments"], inputs)
        except (EOFError, ConnectionError):
            raise
        except BaseException as error:
            message["raised"] = raised.describe(error).to_json()
            break
        message["answers"].append(answer)
        message["counts"].append(len(outputs))
        made += outputs
    return message, made


def _operations(target: str, scratch: Path) -> Operations:
    module, _, name = target.partition(":")
    found: Operations = getattr(import_module(module), name)(scratch)
    return found
