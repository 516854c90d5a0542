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

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
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


class Asked(Protocol):
    """Whoever answers: a process of its own, or in tests this one."""

    def ask(
        self, operation: str, arguments: Mapping[str, Any] | None = None, tensors: Any = ()
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Have an operation run; return its answer and tensors.

        Raises:
            MemoryError: the subject was refused memory.
            SubjectRaised: the operation raised.
            SubjectStopped, SubjectEnded, BadAnswer: there is no answer.
        """

    def end(self) -> None:
        """Have it end, where it is a process of its own: nothing more is asked."""


class SubjectProcess:
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

    def ask(
        self,
        operation: str,
        arguments: Mapping[str, Any] | None = None,
        tensors: Sequence[Tensor] = (),
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """See `Asked`."""
        try:
            self._channel.send({"operation": operation, "arguments": arguments or {}}, tensors)
        except (OSError, EOFError) as error:
            raise SubjectEnded(self._number) from error
        message, received = self._receive()
        if set(message) == {"answer"} and isinstance(message["answer"], dict):
            return message["answer"], received
        if set(message) != {"raised"}:
            raise BadAnswer("neither an answer nor an exception")
        try:
            what = raised.read(message["raised"])
        except (ValueError, TypeError, KeyError) as error:
            raise BadAnswer(f"an exception of no known form: {error!r:.200}") from error
        raise as_error(what)

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


class SameProcess:
    """Runs the operations in this very process: for trusted code, and for tests of them."""

    def __init__(self, target: str, scratch: Path) -> None:
        self._operations = _operations(target, scratch)

    def ask(
        self,
        operation: str,
        arguments: Mapping[str, Any] | None = None,
        tensors: Sequence[Tensor] = (),
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """See `Asked`."""
        try:
            answer, made = self._operations[operation](dict(arguments or {}), list(tensors))
        except BaseException as error:
            what = raised.describe(error)
            if "Exception" not in what.kinds:
                raise
            raise as_error(what) from error
        return dict(answer), [tensor.detach() for tensor in made]

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
            answer, made = operations[message["operation"]](message["arguments"], tensors)
            channel.send({"answer": answer}, made)
        except (EOFError, ConnectionError):
            return
        except BaseException as error:
            channel.send({"raised": raised.describe(error).to_json()})
        del tensors


def _operations(target: str, scratch: Path) -> Operations:
    module, _, name = target.partition(":")
    found: Operations = getattr(import_module(module), name)(scratch)
    return found
