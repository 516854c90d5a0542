"""Everything that the author of a plugin imports, in one module.

A plugin registers *descriptions* of components (see `hookspecs`); the components themselves
follow the small protocols below.  Nothing heavy is imported here: torch appears in
annotations only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from genesys_engine.gab import library
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import GenesysError, InputError, PluginError, TreeError, UnitError
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.gab.tree import GABTree, Node, Place, grow
from genesys_engine.gab.unit import HyperParameter, Slot, Unit, Value, parse_unit
from genesys_engine.plugins import event_kinds as events
from genesys_engine.plugins.checkpoint import load_checkpoint, save_checkpoint
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.hookspecs import hookimpl
from genesys_engine.plugins.kinds import (
    INCIDENTAL,
    LLM,
    NAME_UNLESS_THERE,
    PATH,
    PATH_OR_NAME,
    ROLES,
    CheckedBlock,
    Checker,
    CheckSubject,
    KnowledgeSource,
    LLMBackend,
    LLMPrice,
    LLMReply,
    LLMRequest,
    LLMUsage,
    ReportSection,
    RunStore,
    TrackedRun,
    Tracker,
    incidental_with,
)
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.remote import SourceUnavailable
from genesys_engine.plugins.llm.replies import BadReply, ask_json, extract_code_blocks, extract_json
from genesys_engine.plugins.models import context_of, device_of
from genesys_engine.plugins.sandbox import Isolation, Limits, Outcome
from genesys_engine.plugins.sandbox.subject import run_here as run_job

if TYPE_CHECKING:
    import torch

    from genesys_engine.plugins.students import Students

__all__ = [
    "INCIDENTAL",
    "INTERFACES",
    "LLM",
    "NAME_UNLESS_THERE",
    "PATH",
    "PATH_OR_NAME",
    "ROLES",
    "BadReply",
    "BlockEvaluator",
    "BlockScores",
    "BudgetSpent",
    "Candidates",
    "CheckSubject",
    "CheckedBlock",
    "Checker",
    "Child",
    "Corpus",
    "DesignAbandoned",
    "Document",
    "Evaluator",
    "Executor",
    "Field",
    "Finding",
    "GABTree",
    "GenesysError",
    "History",
    "HyperParameter",
    "InputError",
    "Isolation",
    "KnowledgeSource",
    "LLMBackend",
    "LLMInterrupted",
    "LLMPrice",
    "LLMRefused",
    "LLMReply",
    "LLMRequest",
    "LLMRequestRefused",
    "LLMUnavailable",
    "LLMUsage",
    "Limits",
    "Node",
    "Operator",
    "OperatorContext",
    "OperatorNotApplicable",
    "Options",
    "Outcome",
    "Parent",
    "Place",
    "PluginError",
    "Register",
    "ReportSection",
    "RunStore",
    "RungResult",
    "Score",
    "Selector",
    "Slot",
    "SourceUnavailable",
    "TrackedRun",
    "Tracker",
    "TrainBudget",
    "TrainResult",
    "Trainer",
    "TreeError",
    "TrialDiverged",
    "Tried",
    "Unit",
    "UnitError",
    "Value",
    "ask_json",
    "compose",
    "context_of",
    "device_of",
    "events",
    "extract_code_blocks",
    "extract_json",
    "grow",
    "hookimpl",
    "incidental_with",
    "library",
    "load_checkpoint",
    "parse_unit",
    "run_job",
    "save_checkpoint",
]


class Options(BaseModel):
    """Base of every options model: unknown keys are refused, values are frozen.

    A component class names its model as class attribute `Options` and is constructed as
    `Class(options, **services)`.  Options are read strictly from JSON: "1" is no number, and a
    validator with mode "before" has to return what the field is (a tuple, not a list).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- operators -------------------------------------------------------------------------------


def _nothing_found(query: str, limit: int) -> tuple[Any, ...]:
    """Stand in for a service that an experiment does not have."""
    return ()


@dataclass(frozen=True)
class Parent:
    """A parent design as an operator sees it.

    `design` is its number in the run, negative for a tree that is no design of the run.
    `OperatorContext.history` tells its results, its findings and what was tried on it.
    """

    design: int
    tree: GABTree
    fitness: float | None
    change: str


@dataclass(frozen=True)
class Child:
    """The result of an operator: a tree, and one sentence that describes the change."""

    tree: GABTree
    change: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RungResult:
    """How a design did at one rung of the ladder.

    `gain` is in percent over the reference; where it failed it is None, and `reason` says why in
    one line.  `within_noise` is None where the noise was not measured.  `scores` holds per metric
    the design's own and the reference's (None for the reference itself), those of the fitness
    first.
    """

    scale: str
    gain: float | None
    within_noise: bool | None = None
    scores: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Tried:
    """An earlier attempt on a design: its sentence and its outcome.

    `outcome` is "rejected", "failed", "verified", "untested" or "abandoned"; `summary` says it in
    one line.  What its operator gave up has no `design`.
    """

    change: str
    outcome: str
    summary: str
    design: int | None = None


@dataclass(frozen=True)
class History:
    """The history of a design, as far as the current task may see it.

    `results` begin at the lowest rung; `findings` are the warnings of its check, "code: words";
    `children` are what was tried on it so far, newest first: the siblings of the one that is made.
    """

    results: tuple[RungResult, ...] = ()
    findings: tuple[str, ...] = ()
    children: tuple[Tried, ...] = ()


def _no_history(design: int, limit: int) -> History:
    """Stand in for a run."""
    return History()


@dataclass(frozen=True)
class OperatorContext:
    """The services an operator may use.  All randomness comes from `rng`.

    `llm` asks language models; None where the experiment has no `[llm]`.
    `check(tree)` audits a tree in an isolated worker and returns its report as JSON (`passed`,
    `findings`, `measurements`).
    `search(query, limit)` gives passages of the knowledge base, best first.
    `tried(idea, limit)` tells what the run tried near an idea and what came of it, as far as this
    design may see it.
    `history(design, limit)` tells the results and findings of a parent, by its number, and the
    newest `limit` of what was tried on it, as far as this design may see them.
    `place_weights` tells, by interface, how much more often than usual a place of it should be
    changed, by what the run has seen; empty unless `[variation] operator_selection = "adaptive"`.
    """

    rng: random.Random
    seeds: tuple[str, ...] = ()
    llm: LLM | None = None
    check: Callable[[GABTree], Mapping[str, Any]] | None = None
    search: Callable[[str, int], Sequence[Document]] = _nothing_found
    tried: Callable[[str, int], Sequence[str]] = _nothing_found
    history: Callable[[int, int], History] = _no_history
    place_weights: Mapping[str, float] = field(default_factory=dict)


class OperatorNotApplicable(Exception):
    """Raised by an operator that cannot work on these parents; another one is drawn."""


class DesignAbandoned(Exception):
    """Raised by an operator that spent something without producing a child.

    The message is the reason, `code` a stable name of it, `details` (JSON) what was tried.  The
    run records it as a failed try.
    """

    def __init__(
        self, message: str, *, code: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = dict(details or {})


class BudgetSpent(Exception):
    """Raised by `LLM.ask` where a cap allows no further call; operators let it pass."""


class LLMRefused(GenesysError):
    """Raised by `LLM.ask` where a service will never answer: no key, no such model."""


class LLMRequestRefused(LLMRefused):
    """Raised by `LLM.ask` where this one request is refused: too long, against the rules.

    Other requests may be answered.  An operator that lets it pass gives the design up.
    """


class LLMUnavailable(Exception):
    """Raised by a back end if the same request may succeed later.

    `retry_after_s` is what the service asked one to wait, None if it did not say.  `billed` says
    that this call may be billed all the same: the service got it, and its reply was lost.  `kind`
    says what is wrong: "limited" (it is asked too often), "slow" (no answer in time), "down"
    (nothing answers at its address), "strange" (what answers there is no such service), "failing"
    (it answers with an error), "lost" (its reply broke off), or "" for anything else.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        billed: bool = False,
        kind: str = "",
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.billed = billed
        self.kind = kind


class LLMInterrupted(BaseException):
    """Raised by `LLM.ask` while the run is ending.  Nobody catches it: the design is started again,
    from the record, when the run is resumed."""


class Operator(Protocol):
    """Makes a child from `arity[0]` to `arity[1]` parents.

    Deterministic: equal parents and an equal generator give an equal child.
    """

    arity: tuple[int, int]

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return a child, or raise `OperatorNotApplicable`."""


# --- selection -------------------------------------------------------------------------------


class Selector(Protocol):
    """Picks designs; sees only what the look-ahead allows.

    The arrays are parallel and hold one entry per candidate: `fitness` (higher is better),
    `confidence` (rungs verified), `parameters`, `flops` (per token, the deterministic measure
    of speed).

    One that has a static method `metrics(options)`, which returns names of scores, finds the
    gains in these scores under `candidates.metrics`: in percent over the reference, averaged over
    rungs, higher is better whatever the score. They need not be metrics of the fitness.
    """

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Return the positions of `count` distinct candidates to vary, or of all if fewer."""

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Return the position of the candidate to verify at its next rung."""

    def survivors(self, candidates: Candidates, count: int) -> list[int]:
        """Return the positions of the `count` candidates that form the next population."""


@dataclass(frozen=True)
class Candidates:
    """Parallel arrays over candidate designs (numpy, float64; ids int64)."""

    design: Any
    fitness: Any
    confidence: Any
    parameters: Any
    flops: Any
    metrics: Mapping[str, Any] = field(default_factory=dict)  # those that the selector asks for

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.design)


# --- training --------------------------------------------------------------------------------


class TrialDiverged(Exception):
    """Raised by a trainer that ends a trial early; the message is the recorded reason."""


@dataclass(frozen=True)
class TrainBudget:
    """The budget of one trial.

    `tokens` counts real (unmasked) target tokens; `batch_tokens` is the effective batch;
    `peak_lr` is that of AdamW for all weights: the rung's, or its scale's.  `lr_scale` is what the
    rung asks for relative to its scale: 2 where its `peak_lr` is twice the scale's; a trainer with
    rates of its own multiplies them by it.
    """

    tokens: int
    batch_tokens: int
    peak_lr: float
    seed: int
    lr_scale: float = 1.0


@dataclass(frozen=True)
class TrainResult:
    """The result of training: real tokens, optimiser steps and the loss curve.

    `curve` holds (tokens seen, training loss in nats per token) pairs, at most 200 of them.
    `facts` are of this machine (micro-batch, compiled or not) and decide nothing.
    """

    tokens: int
    steps: int
    curve: tuple[tuple[int, float], ...]
    checkpoint: Path
    facts: Mapping[str, float | int | str] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains a model in place, inside an isolated worker process, and writes a checkpoint.

    That process has no evaluation data: `corpus` contains neither held-out text nor items of tasks.

    One that has an attribute `preload`, a tuple of names of modules, has them imported once, by the
    process that every worker is forked from, and not by every job.
    """

    def train(
        self,
        model: torch.nn.Module,
        corpus: Corpus,
        budget: TrainBudget,
        checkpoint: Path,
    ) -> TrainResult:
        """Train `model` (tokens (B, T) -> logits (B, T, V)) and write `checkpoint` atomically.

        A trainer may tell its curve while it trains (see `trainers.live_curve`).

        Raises:
            TrialDiverged: the loss is not finite or exploded.
        """


# --- evaluation ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """One number of one metric: `value`, its standard error, and which direction is better.

    `n` is the number of items that it is a mean over.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    value: float
    stderr: float | None
    higher_is_better: bool
    n: Annotated[int, Field(ge=0)]


class Evaluator(Protocol):
    """Scores a model inside an isolated worker process.

    `model` is a stand-in for a candidate's model, which answers from another process: tokens
    (B, T) -> log-probabilities (B, T, V) on the CPU.  It has `config` (context, vocab_size),
    `eval`, `logits_at` and `generate`, and no parameters.

    One that has a method `for_control()` gives an evaluator of the same metrics on fewer items, by
    which the untrained model is scored; without it, that is scored on all.

    One that has an attribute `samples` (metric -> numpy array with a score per item, NaN where
    there is none, of the model evaluated last) has them kept next to the run's loss curves.

    One that has a static method `metrics(options, corpus)` says beforehand which scores it will
    give, so that a metric that nobody gives is refused before anything is trained. It gets the
    options and the name of the corpus (`[corpus] use`), runs in the engine's process, and is
    quick; a name that ends in `*` stands for all that begin so.

    An attribute `preload` is as a `Trainer`'s; it counts where the lowest rung asks the evaluator.
    """

    def evaluate(self, model: torch.nn.Module, corpus: Corpus) -> Mapping[str, Score]:
        """Return scores by metric name, such as `bits_per_byte` or `continuation:acc`."""


@dataclass(frozen=True)
class BlockScores:
    """Scores by metric of models that an evaluator trained, and of the same models untrained."""

    trained: Mapping[str, Score]
    untrained: Mapping[str, Score]


class BlockEvaluator(Protocol):
    """An evaluator that trains models of its own, of a design's block alone.

    What it finds out is a property of the block: it is asked once at each rung, whatever the run's
    training made of the model there.  `samples` and `metrics` are as an `Evaluator`'s.
    """

    def evaluate_block(self, students: Students) -> BlockScores:
        """Build models with `students`, teach and test them, and return their scores.

        The items and what is right are known here alone: a student gets lessons, and of a test the
        inputs.
        """

    def guessed(self) -> Mapping[str, Score]:
        """Return the scores of guessing, the control that no training is needed for."""


# --- execution -------------------------------------------------------------------------------


class Executor(Protocol):
    """Runs jobs away from the engine's process, at most `workers` at a time.

    One that isolates its jobs has a static method `isolation(options) -> Isolation`, which tells
    what it reaches without running anything, and takes the required level as `require`; without
    it an experiment can demand no level.
    """

    workers: int

    def submit(
        self, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
    ) -> Future[Outcome]:
        """Run the function `target` ("module:function") on `payload` with `scratch` as its only
        writable folder.  Never raises for what the job does: the `Outcome` says it.

        With `limits.subject` the job is two processes: a candidate's code runs in the second, and
        the function gets the handle by which it asks (`plugins.sandbox.subject`) as third argument.
        An executor that isolates nothing has `run_job` do all of it in one process."""

    def close(self) -> None:
        """End every job and process; safe to call twice."""


# --- registration ----------------------------------------------------------------------------


class Register(Protocol):
    """The argument of registration hooks: call it once per component."""

    def __call__(
        self,
        name: str,
        target: str,
        *,
        summary: str,
        options: type[BaseModel] | str | None = None,
    ) -> None:
        """Describe a component.

        Args:
            name: how an experiment names it (`use = "name"`): lower case, digits, `_ . -`.
            target: "package.module:Class"; imported only when it is used.
            summary: one line for `genesys-engine plugins`.
            options: its options model or a "package.module:Class" string that names it; None
                takes the attribute `Options` of the class.  With options the component is
                made as `Class(options, **services)`, else as `Class(**services)`.
        """
