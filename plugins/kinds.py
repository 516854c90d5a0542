"""The protocols of the kinds that check, watch, show, look things up and answer.

`api` names them all: authors import from there.  Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genesys_engine.gab.checks.report import Finding

if TYPE_CHECKING:
    from torch import Tensor

    from genesys_engine.gab.errors import InputError
    from genesys_engine.plugins.knowledge.documents import Document

# --- checkers ----------------------------------------------------------------------------------


class CheckedBlock(Protocol):
    """A block under check: it runs in a process of its own, and answers with tensors."""

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of its parameters, by name."""

    @property
    def units(self) -> Mapping[str, str]:
        """The classes of the units inside it, by path."""

    def train(self, mode: bool = True) -> CheckedBlock:
        """Have the next calls be in train mode, or in eval mode."""

    def eval(self) -> CheckedBlock:
        """Have the next calls be in eval mode."""

    def __call__(self, X: Tensor, **Z: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Map X (batch, time, embed_dim) and Z to the same, without a gradient.

        Of the Z that comes back, what tensors it holds.
        """

    def gradients(self, X: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output Y for X, and X's gradient of the mean of `weights` times Y.

        Without the gradient where there is none, or where Y is not finite.
        """


@dataclass(frozen=True)
class CheckSubject:
    """A block that has passed every check that is built in.

    `block(embed_dim, block_loc=(0, 1), dtype="float32")` builds it.  Its code runs in another
    process than the checker: what is found here from what it computes, no block can change.
    `fits` holds for each scale of the ladder d_model, n_blocks, context, vocab_size and
    parameters.
    """

    source: str
    block: Callable[..., CheckedBlock]
    seed: int
    fits: Mapping[str, Mapping[str, Any]]


class Checker(Protocol):
    """A further check, inside an isolated worker process that runs nothing of the block.

    Equal subjects give equal findings: chance comes from `subject.seed`.
    """

    def check(self, subject: CheckSubject) -> Iterable[Finding]:
        """Return the findings; one of severity "error" rejects the block."""


# --- trackers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker follows: its folder, and its experiment as JSON."""

    name: str
    folder: Path
    experiment: Mapping[str, Any]
    resumed: bool = False


class Tracker(Protocol):
    """Copies the event log to another system; made as `Class(options, run=TrackedRun)`.

    Called in the engine's process, in the order of the log.  After a crash an event may come a
    second time (with the same `id`); none is left out.
    """

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take one event: read-only `id`, `kind`, `payload`, `at` (seconds since the epoch)."""

    def close(self) -> None:
        """Flush and release everything; safe to call twice."""


# --- selectors ---------------------------------------------------------------------------------

OBJECTIVES = {
    "quality": ("fitness", 1.0),
    "parameters": ("parameters", -1.0),
    "speed": ("flops", -1.0),
}
"""Objective -> the array of `Candidates` that holds it, and whether more or less is better."""

# --- report sections ---------------------------------------------------------------------------


class RunStore(Protocol):
    """A run as a report section sees it; see `engine/store/run_store.py` for the rows."""

    folder: Path

    def meta(self, key: str, default: Any = None) -> Any:
        """Return a fact of the run: `name`, `experiment`, `versions`, `corpus`, `verdict` ..."""

    def designs(self) -> Iterable[Any]:
        """Return every design: id, accepted, parents, operator, change, rung, fitness ..."""

    def verifications(self, design: int | None = None) -> Iterable[Any]:
        """Return every verification: design, rung, status, reason, fitness, scores ..."""

    def events(self, *, after: int = 0) -> Iterable[Any]:
        """Return the event log: id, kind, payload, at."""


class ReportSection(Protocol):
    """One section of the report: a function, or a class without arguments whose instance is."""

    def __call__(self, store: RunStore) -> tuple[str, str]:
        """Return the title as plain text and the body as HTML.

        Texts of a run must be escaped (`html.escape`).  Scripts do not run.
        """


# --- knowledge sources -------------------------------------------------------------------------


class KnowledgeSource(Protocol):
    """Where documents come from; made as `Class(options, cache=folder)`.

    `cache` is a folder for what can be made again.  Both methods raise an `InputError` for what
    does not exist and a `SourceUnavailable` for a service that cannot be reached: it is reported
    once, and everything else continues.  A source may say in an attribute `share` how much of the
    place `fetch` has read, 0 to 1: the command line shows the time left from it.
    """

    def fetch(self, place: str) -> Iterator[Document | InputError]:
        """Yield the documents at `place` (a path, an identifier ...), to be kept in the base.

        What cannot be used among others is yielded as an error, and the others continue.
        """

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return at most `limit` documents of a live service, best first; () without one."""


# --- language models ---------------------------------------------------------------------------


@dataclass(frozen=True)
class LLMRequest:
    """A request to a language model.

    `messages` are (role, text) pairs, role one of system, user, assistant.  `schema` is the JSON
    Schema that the reply must follow, or None for plain text.  `purpose` says in facts what the
    messages say in words (`role`, `stage`, `unit`, `interface` ...): a back end without a model
    answers by it, a real model never sees it, and it does not tell requests apart.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0
    schema: Mapping[str, Any] | None = None
    deadline_s: float = 60.0
    purpose: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class LLMReply:
    """A reply and its cost; counts and prices that the service does not report are None.

    `usd` is the price of this reply: 0 for a local model, None if unknown.
    """

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    usd: float | None = None


@dataclass(frozen=True)
class LLMPrice:
    """US dollars for one token."""

    input_usd: float
    output_usd: float


class LLMBackend(Protocol):
    """Answers requests to a language model; several threads may ask at once.

    More is asked for where a back end has it: `prepare()` raises an `InputError` for what is
    missing (a key, a file) before anything is spent; `price`, an `LLMPrice` or None if unknown,
    lets a cap in US dollars be kept; `address` stands in messages; `live`, if False, says that no
    model stands behind it, so that there is nothing to try.  An option whose field carries
    `json_schema_extra=INCIDENTAL` (an address, a number of threads) does not tell models apart,
    nor does one with `incidental_with(option)` where that option is given.
    """

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the reply, or raise within `request.deadline_s` seconds.

        Raises:
            LLMUnavailable: asking again later may help; a time-out or a connection error of
                Python's own counts as one.
            LLMRefused: it will never help.
        """

    def close(self) -> None:
        """Let connections and processes go; safe to call twice."""


INCIDENTAL: dict[str, Any] = {"incidental": True}
"""Marks the field of an option that does not change what a model answers."""


def incidental_with(option: str) -> dict[str, Any]:
    """Return the mark of a field that is incidental where the other `option` is given.

    A path, for instance, next to the digest of the file.
    """
    return {"incidental_with": option}


PATH_RULE = "path"
PATH: dict[str, Any] = {PATH_RULE: "always"}
"""Marks the field of an option that holds a path, several, or a table of them.

In an experiment's file they are relative to that file; the component gets whole paths, and a
path counts by its last part where experiments are compared.  Joined to another mark:
`json_schema_extra=PATH | INCIDENTAL`.
"""
PATH_OR_NAME: dict[str, Any] = {PATH_RULE: "marked"}
"""The same for a field of names and paths: a path begins with /, ./, ../ or ~."""
NAME_UNLESS_THERE: dict[str, Any] = {PATH_RULE: "there"}
"""The same, and what exists next to the file, or ends in .json, is a path too."""


@dataclass(frozen=True)
class LLMUsage:
    """The usage of a role: calls and tokens; `usd` is None if any price was unknown."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0

    @property
    def tokens(self) -> int:
        """Input and output together, as counted by caps in tokens."""
        return self.input_tokens + self.output_tokens


class LLM(Protocol):
    """An operator's access to language models, provided by the engine's gateway.

    One object per design task.  It picks the model of the role, waits during outages, retries,
    enforces the caps, and records every call, so that a design that is repeated after a crash
    reuses the replies that were paid for.
    """

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the reply to `request`; `role` is one of `ROLES`.

        A request that differs in nothing, seed included, is the same request and is answered
        from the record; ask with another seed for another reply.

        Raises:
            BudgetSpent: a cap does not allow another call.  Let it pass: the design is
                started again, from the record, when the run is resumed.
            LLMRefused: the service will never answer this request (no key, no such model).
        """

    def usage(self) -> Mapping[str, LLMUsage]:
        """Return the usage of this design by role, including calls answered from the record."""


ROLES = ("proposer", "reviewer", "planner", "coder", "observer")
