"""What each kind of event holds: one frozen record per kind, as docs/hooks.md describes them.

A field with a default was added after the first version, or is left out where nothing is known:
the log of an earlier version is read without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from genesys_engine.engine.common.records import from_json, sparse, to_json
from genesys_engine.plugins import event_kinds as kinds
from genesys_engine.plugins.api import LLMUsage

_TYPES: dict[str, type[EventRecord]] = {}


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """What an event holds; `KIND` is its name in the log."""

    KIND: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Let the log be read with this record where it names its kind."""
        if "KIND" in vars(cls):
            _TYPES[cls.KIND] = cls

    def to_json(self) -> Mapping[str, object]:
        """Return it as the payload of an event."""
        return to_json(self)


# --- the run -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RungPlan:
    """One rung of the ladder: verifications at most, and tokens of each training."""

    scale: str
    verifications: int
    tokens: int
    context: int
    noise_seeds: int


@dataclass(frozen=True)
class FinalsPlan:
    """The finals: children and fresh seeds at most; `trainings` of all designs together."""

    designs: int
    seeds: int
    trainings: int | None = sparse(None)

    @property
    def most_trainings(self) -> int:
        """How many trainings they take at most.

        A log of an earlier version has the children alone; the reference was trained with them.
        """
        return (self.designs + 1) * self.seeds if self.trainings is None else self.trainings


@dataclass(frozen=True, kw_only=True)
class RunStarted(EventRecord):
    """A run begins; `experiment` is the digest of what decides."""

    KIND = kinds.RUN_STARTED
    experiment: str
    seed: int
    rungs: tuple[RungPlan, ...]
    designs: int
    reference: str
    mode: str
    selection: str
    finals: FinalsPlan | None = sparse(None)  # noqa: RUF009 - a field


@dataclass(frozen=True)
class ChangedKey:
    """One key of the experiment that differs; None stands for a key that is not there."""

    key: str
    was: object
    now: object


@dataclass(frozen=True, kw_only=True)
class RunExtended(RunStarted):
    """A run goes on with larger budgets."""

    KIND = kinds.RUN_EXTENDED
    changes: tuple[ChangedKey, ...]


@dataclass(frozen=True, kw_only=True)
class RunResumed(EventRecord):
    """Another process takes up the run."""

    KIND = kinds.RUN_RESUMED


@dataclass(frozen=True, kw_only=True)
class RunInterrupted(EventRecord):
    """A person ended the run early."""

    KIND = kinds.RUN_INTERRUPTED
    reason: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class RunStopped(EventRecord):
    """A cap, a plugin or a language model that does not answer ended the run early."""

    KIND = kinds.RUN_STOPPED
    reason: str
    exit_code: int


@dataclass(frozen=True)
class Comparison:
    """The best child against one other design, which may play several roles.

    `difference` is in points of percent over the reference: the mean over `scales`, the rungs that
    both were trained at, with the noise `sigma` of such a mean; or the mean over `seeds` fresh
    seeds of the finals, with its interval from `low` to `high`.
    """

    design: int
    name: str
    difference: float
    scales: tuple[str, ...]
    standing: str
    roles: tuple[str, ...] = ()
    sigma: float | None = None
    seeds: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class FreshResult:
    """What a design gained over the reference with the fresh seeds of the finals, in percent.

    `gains` are by seed, `low` and `high` the interval of their mean; `out_after` says after how
    many seeds the design dropped out, None where it did not, and `failed` whether that was for a
    training that failed.
    """

    design: int
    mean: float
    low: float | None
    high: float | None
    gains: tuple[float, ...]
    standing: str
    out_after: int | None = None
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class RunFinished(EventRecord):
    """A run is over, with its verdict in numbers and in sentences."""

    KIND = kinds.RUN_FINISHED
    best: int | None
    best_child: int | None
    rung: int | None
    fitness: float | None
    reference: int | None
    sigma: float | None
    comparisons: tuple[Comparison, ...] = ()
    finalists: tuple[FreshResult, ...] | None = sparse(None)
    better_than_every_seed: bool | None = sparse(None)
    seeds_left_out: tuple[int, ...] | None = sparse(None)
    verdict: str
    sentences: tuple[str, ...] = ()


# --- designs -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DesignStarted(EventRecord):
    """A design is being made; `origin` is `seed:NAME` or `variation`."""

    KIND = kinds.DESIGN_STARTED
    seq: int
    parents: tuple[int, ...]
    origin: str


@dataclass(frozen=True, kw_only=True)
class DesignAccepted(EventRecord):
    """A design has passed its check; `details` are its operator's."""

    KIND = kinds.DESIGN_ACCEPTED
    design: int
    seq: int
    parents: tuple[int, ...]
    operator: str
    change: str
    digest: str
    parameters: float | None
    details: Mapping[str, object] | None = sparse(None)


@dataclass(frozen=True, kw_only=True)
class DesignRejected(EventRecord):
    """A design has failed its check; `codes` are those of the findings."""

    KIND = kinds.DESIGN_REJECTED
    design: int
    seq: int
    parents: tuple[int, ...]
    operator: str
    change: str
    codes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DesignDuplicate(EventRecord):
    """An operator has made the design `of` again."""

    KIND = kinds.DESIGN_DUPLICATE
    seq: int
    of: int
    operator: str
    change: str


@dataclass(frozen=True, kw_only=True)
class DesignExhausted(EventRecord):
    """A task has used its attempts without a new design."""

    KIND = kinds.DESIGN_EXHAUSTED
    seq: int
    parents: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class DesignAbandoned(EventRecord):
    """An operator gave a design up; `reply` is how the last reply of a language model began."""

    KIND = kinds.DESIGN_ABANDONED
    seq: int
    parents: tuple[int, ...]
    operator: str
    code: str
    reason: str
    details: Mapping[str, object]
    role: str | None = sparse(None)
    reply: str | None = sparse(None)


@dataclass(frozen=True, kw_only=True)
class ConfirmationStarted(EventRecord):
    """The audit of a design that sets a record or would lead begins."""

    KIND = kinds.CONFIRMATION_STARTED
    seq: int
    design: int
    rung: int


@dataclass(frozen=True, kw_only=True)
class DesignConfirmed(EventRecord):
    """A design has passed its audit."""

    KIND = kinds.DESIGN_CONFIRMED
    seq: int
    design: int
    rung: int


@dataclass(frozen=True, kw_only=True)
class DesignDisqualified(EventRecord):
    """A design has failed its audit; its descendants `in_question` are audited next."""

    KIND = kinds.DESIGN_DISQUALIFIED
    seq: int
    design: int
    rung: int
    reason: str
    in_question: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DesignPinned(EventRecord):
    """A person has asked that a design be promoted before others.

    It is decisive, as the extension of a run is: what follows depends on it.
    """

    KIND = kinds.DESIGN_PINNED
    design: int


# --- verifications -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VerificationStarted(EventRecord):
    """A design is to be trained and evaluated at a rung."""

    KIND = kinds.VERIFICATION_STARTED
    seq: int
    design: int
    rung: int
    replicate: int


@dataclass(frozen=True, kw_only=True)
class _OfVerification(EventRecord):
    """What is said of a verification that has ended."""

    verification: int
    seq: int
    design: int
    rung: int
    replicate: int


@dataclass(frozen=True, kw_only=True)
class VerificationFinished(_OfVerification):
    """A verification has a result: its fitness in percent, and the values of its scores."""

    KIND = kinds.VERIFICATION_FINISHED
    fitness: float
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class VerificationFailed(_OfVerification):
    """A verification has failed."""

    KIND = kinds.VERIFICATION_FAILED
    cause: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DeviceUsed(_OfVerification):
    """How long a verification kept one of the workers."""

    KIND = kinds.DEVICE_USED
    seconds: float
    workers: int


@dataclass(frozen=True, kw_only=True)
class RungOpened(EventRecord):
    """The first verification of a rung is decided."""

    KIND = kinds.RUNG_OPENED
    rung: int
    scale: str


@dataclass(frozen=True, kw_only=True)
class GenerationFinished(EventRecord):
    """A generation is closed; the survivors are the population."""

    KIND = kinds.GENERATION_FINISHED
    generation: int
    population: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BestChanged(EventRecord):
    """Another design leads."""

    KIND = kinds.BEST_CHANGED
    design: int
    rung: int
    fitness: float


@dataclass(frozen=True, kw_only=True)
class FinalsOpened(EventRecord):
    """The finals begin: the best children against the seeds of the population."""

    KIND = kinds.FINALS_OPENED
    reference: int
    finalists: tuple[int, ...]
    rivals: tuple[int, ...] | None = sparse(None)
    seeds: int
    trainings: int | None = sparse(None)

    @property
    def seeds_of_population(self) -> tuple[int, ...]:
        """The seeds that take part; in a log of an earlier version it is the reference alone."""
        return (self.reference,) if self.rivals is None else self.rivals

    @property
    def most_trainings(self) -> int:
        """How many trainings they take at most."""
        alone = (len(self.finalists) + 1) * self.seeds
        return alone if self.trainings is None else self.trainings


@dataclass(frozen=True)
class Dropped:
    """A design that drops out of the finals: for a failed training, or for being worse than the
    leader by `mean`, with its interval, over `seeds` fresh seeds."""

    design: int
    reason: str
    mean: float | None = sparse(None)
    low: float | None = sparse(None)
    high: float | None = sparse(None)
    seeds: int | None = sparse(None)


@dataclass(frozen=True, kw_only=True)
class FinalsLook(EventRecord):
    """All that are still in the finals have been compared after so many fresh seeds."""

    KIND = kinds.FINALS_LOOK
    seeds: int
    leader: int | None
    remaining: tuple[int, ...]
    dropped: tuple[Dropped, ...]
    to_come: int


# --- machine, plugins, language models ---------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BudgetWarning(EventRecord):
    """A share of a budget is used; of `used`, `lost` is estimated for replies that were lost."""

    KIND = kinds.BUDGET_WARNING
    budget: str
    used: int | float
    cap: int | float
    lost: int | float | None = sparse(None)


@dataclass(frozen=True, kw_only=True)
class WorkerLost(EventRecord):
    """A task was lost through no fault of its design and is done again."""

    KIND = kinds.WORKER_LOST
    seq: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ErrorHandled(EventRecord):
    """A plugin has decided what becomes of an error."""

    KIND = kinds.ERROR_HANDLED
    seq: int
    stage: str
    action: str
    by: str


@dataclass(frozen=True, kw_only=True)
class LLMUsed(EventRecord):
    """What a design task has used of language models, by role."""

    KIND = kinds.LLM_USED
    seq: int
    roles: Mapping[str, LLMUsage]


@dataclass(frozen=True, kw_only=True)
class LLMUnreachable(EventRecord):
    """A service does not answer; `kind` is that of the fault."""

    KIND = kinds.LLM_UNREACHABLE
    model: str
    address: str = ""
    kind: str = ""
    reason: str
    next_try_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class LLMReachable(EventRecord):
    """A service answers again."""

    KIND = kinds.LLM_REACHABLE
    model: str


@dataclass(frozen=True, kw_only=True)
class LLMSchemaRefused(EventRecord):
    """A service takes no JSON Schema: requests of the role go without from now on."""

    KIND = kinds.LLM_SCHEMA_REFUSED
    model: str
    role: str
    reason: str


def record_of(kind: str, payload: Mapping[str, object]) -> EventRecord | None:
    """Return what an event of a kind holds; None for a kind that this version does not know.

    Raises:
        ValueError: the payload does not fit its kind.
    """
    known = _TYPES.get(kind)
    return None if known is None else from_json(known, payload)
