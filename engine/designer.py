"""Designers: carry out a design task, away from the loop, in a thread each.

A child is drawn until one is new and passes its check: a child known by its digest costs
nothing, one that is rejected is kept with its findings.  An operator that spent something and has
no child to show for it ends the task.  Operators are trusted plugins and run here; what they wrote
is checked in the executor's isolated workers, never in this process.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genesys_engine.engine.answers import MEND, checked_child, checked_details
from genesys_engine.engine.config.schema import OwnSeed
from genesys_engine.engine.llm.gateway import Gateway
from genesys_engine.engine.lookup import Lookup
from genesys_engine.engine.randomness import generator
from genesys_engine.engine.replies import CheckReply
from genesys_engine.engine.threads import DaemonPool
from genesys_engine.gab import library
from genesys_engine.gab.checks import judged
from genesys_engine.gab.checks.report import ADVICE
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem, InputError, PluginError
from genesys_engine.gab.sandbox.scratch import remove
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import (
    BudgetSpent,
    Child,
    DesignAbandoned,
    Executor,
    Limits,
    LLMRefused,
    LLMRequestRefused,
    Operator,
    OperatorContext,
    OperatorNotApplicable,
    Outcome,
    Parent,
)
from genesys_engine.plugins.checkers import FAULT

CHECK = "genesys_engine.plugins.check_job:check"
NO_SEEDS: Mapping[str, OwnSeed] = {}
DISK_FULL = ("No space left on device", "Disk quota exceeded")


class InfrastructureFailure(Exception):
    """A task could not be carried out for a reason that is not the design's."""


OF_SERVICES = (
    BudgetSpent,
    EnvironmentProblem,
    InfrastructureFailure,
    InputError,
    LLMRefused,
    PluginError,
)
"""What the services of an operator raise: no fault of the operator's."""


@dataclass(frozen=True)
class TaskResult:
    """What a task gave (the same on every machine) and the facts of this machine."""

    result: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightedOperator:
    """An operator of the experiment, by its registered name."""

    name: str
    operator: Operator
    weight: float


@dataclass(frozen=True)
class CheckSettings:
    """What the check of a child needs to know of the experiment."""

    scales: tuple[str, ...]
    vocab_size: int
    seed: int
    limits: Limits
    tries: int
    checkers: tuple[Mapping[str, Any], ...] = ()  # name, target, options


class Designer:
    """Makes designs; `known` maps digests and fingerprints to design numbers and only grows.

    Of the `seeds` operators are given those of the library; `own` are the others.
    """

    def __init__(
        self,
        operators: Sequence[WeightedOperator],
        executor: Executor,
        known: Mapping[str, int],
        settings: CheckSettings,
        scratch: Path,
        *,
        seeds: Sequence[str],
        own: Mapping[str, OwnSeed] = NO_SEEDS,
        threads: int,
        gateway: Gateway | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._operators = operators
        self._executor = executor
        self._known = known
        self._settings = settings
        self._scratch = scratch
        self._seeds = tuple(name for name in seeds if name not in own)
        self._own = own
        self._gateway = gateway
        self._lookup = lookup
        self._threads = DaemonPool(threads, "designer")

    def seed(self, name: str) -> Child:
        """Return a seed, of the library or a user's own."""
        if (own := self._own.get(name)) is not None:
            return Child(GABTree.from_json(own.tree), own.change)
        return Child(library.seed(name), f"Seed design {name}.")

    def start(
        self, seq: int, payload: Mapping[str, Any], parents: Sequence[Parent]
    ) -> Future[TaskResult]:
        """Begin a design task."""
        return self._threads.submit(self._make, seq, payload, tuple(parents))

    @property
    def gateway(self) -> Gateway | None:
        """The way to the language models, None where there are none."""
        return self._gateway

    def stop(self) -> None:
        """Let nobody wait for a language model any more; its designs are begun again later."""
        if self._gateway is not None:
            self._gateway.stop()

    def close(self) -> None:
        """Forget what has not begun, and let the services go."""
        self.stop()
        self._threads.close()
        for service in (self._gateway, self._lookup):
            if service is not None:
                service.close()

    def _make(
        self, seq: int, payload: Mapping[str, Any], parents: tuple[Parent, ...]
    ) -> TaskResult:
        started = time.monotonic()
        attempt = _Attempts(self, seq, payload, parents)
        result = attempt.seed(payload["seed"]) if payload["seed"] else attempt.vary()
        if attempt.llm is not None and (used := attempt.llm.usage()):
            result["llm"] = {role: asdict(usage) for role, usage in sorted(used.items())}
        return TaskResult(result, {"design_s": time.monotonic() - started})

    def check(self, source: str, seq: int, attempt: int) -> Mapping[str, Any]:
        """Return the check report of a composed tree; raises `InfrastructureFailure`."""
        scratch = self._scratch / f"check-{seq}-{attempt}"
        scratch.mkdir(parents=True, exist_ok=True)
        payload: dict[str, Any] = {
            "source": source,
            "scales": list(self._settings.scales),
            "vocab_size": self._settings.vocab_size,
            "seed": self._settings.seed,
        }
        if self._settings.checkers:
            payload["checkers"] = [dict(entry) for entry in self._settings.checkers]
        limits = self._settings.limits
        outcome = self._executor.submit(CHECK, payload, scratch, judged(limits)).result()
        try:
            refuse_infrastructure(outcome, scratch, limits)
        finally:
            remove(scratch)
        if outcome.status != "ok" or outcome.value is None:
            return failed_report(outcome)
        try:
            report = CheckReply.read(outcome.value, self._settings.scales)
        except ValidationError as error:
            reason = f"the reply is malformed: {error.errors()[0]['msg']}"
            return failed_report(Outcome("bad_reply", None, reason))
        refuse_faulty_checker(report, [entry["name"] for entry in self._settings.checkers])
        return report


class _Attempts:
    """The tries of one design task: what was drawn, dropped and rejected on the way."""

    def __init__(
        self,
        designer: Designer,
        seq: int,
        payload: Mapping[str, Any],
        parents: tuple[Parent, ...],
    ) -> None:
        self.designer = designer
        self.seq = seq
        self.parents = parents
        self.payload = payload
        self.known_before = int(payload["known_before"])
        self.llm = None if designer._gateway is None else designer._gateway.client(str(seq))
        self.reports: dict[str, Mapping[str, Any]] = {}
        self.duplicates: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []
        self.not_applicable = 0

    def seed(self, name: str) -> dict[str, Any]:
        """Check a seed design."""
        child = self.designer.seed(name)
        entry = self._try(child, f"seed:{name}")
        return self._ended(entry)

    def vary(self) -> dict[str, Any]:
        """Draw children until one is new and passes its check."""
        settings = self.designer._settings
        rng = generator(settings.seed, "design", self.seq)
        for _ in range(settings.tries):
            try:
                drawn = self._draw(rng)
            except _Abandoned as abandoned:
                said = {} if self.llm is None else self.llm.last_said()
                return self._ended(None, {**abandoned.told, **said})
            if drawn is None:
                self.not_applicable += 1
                continue
            name, child = drawn
            entry = self._try(child, name)
            if entry is not None:
                return self._ended(entry)
        return self._ended(None)

    def _context(self, rng: random.Random) -> OperatorContext:
        """Return the services of an operator, seen from this task."""
        services: dict[str, Any] = {"seeds": self.designer._seeds, "llm": self.llm}
        if (lookup := self.designer._lookup) is not None:
            services |= {"search": lookup.search, "tried": lookup.tried(self.payload)}
            services |= {"history": lookup.history(self.payload)}
        return OperatorContext(rng=rng, check=self._check, **services)

    def _check(self, tree: GABTree) -> Mapping[str, Any]:
        """Return the report of a tree; what an operator has had checked is not checked again."""
        source = compose(tree)  # equal trees may differ in comments, and so in lines
        if source not in self.reports:
            self.reports[source] = self.designer.check(source, self.seq, len(self.reports))
        return self.reports[source]

    def _draw(self, rng: random.Random) -> tuple[str, Child] | None:
        count = len(self.parents)
        fitting = [
            entry
            for entry in self.designer._operators
            if entry.operator.arity[0] <= count <= entry.operator.arity[1]
        ]
        if not fitting:
            return None
        entry = rng.choices(fitting, [entry.weight for entry in fitting])[0]
        try:
            answer = entry.operator(self.parents, self._context(rng))
        except OperatorNotApplicable:
            return None
        except DesignAbandoned as error:
            details = checked_details(error.details, entry.name)
            raise _Abandoned(entry.name, str(error.code), str(error), details) from error
        except LLMRequestRefused as error:
            raise _Abandoned(entry.name, "llm.refused", error.message, {}) from error
        except OF_SERVICES:
            raise
        except Exception as error:
            raise PluginError(
                f"raised {type(error).__name__}: {error}",
                where=f"operator {entry.name}",
                hint=MEND,
            ) from error
        return entry.name, checked_child(answer, entry.name)

    def _try(self, child: Child, operator: str) -> dict[str, Any] | None:
        """Return the entry of an accepted child, or None after noting why it was dropped."""
        entry: dict[str, Any] = {
            "tree": child.tree.to_json(),
            "digest": child.tree.digest,
            "operator": operator,
            "change": child.change,
            "details": dict(child.details),
        }
        if self._is_known(child.tree.digest, entry) or self._was_rejected(child.tree.digest):
            return None
        entry["report"] = self._check(child.tree)
        if not entry["report"]["passed"]:
            self.rejected.append(entry)
            return None
        entry["fingerprint"] = entry["report"]["measurements"].get("fingerprint")
        return None if self._is_known(entry["fingerprint"], entry) else entry

    def _was_rejected(self, digest: str) -> bool:
        return any(entry["digest"] == digest for entry in self.rejected)

    def _is_known(self, digest: str | None, entry: Mapping[str, Any]) -> bool:
        of = self.designer._known.get(digest) if digest else None
        if of is None or of >= self.known_before:
            return False
        keys = ("operator", "change")
        self.duplicates.append({"of": of, **{key: entry[key] for key in keys}})
        return True

    def _ended(
        self, accepted: dict[str, Any] | None, abandoned: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            "accepted": accepted,
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "not_applicable": self.not_applicable,
            "abandoned": abandoned,
        }


class _Abandoned(Exception):
    """An operator gave the design up; `told` is what the run records of it."""

    def __init__(self, operator: str, code: str, reason: str, details: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.told = {
            "operator": operator,
            "code": code,
            "reason": reason.partition("\n")[0],
            "details": dict(details),
        }


def refuse_infrastructure(outcome: Outcome, scratch: Path, limits: Limits) -> None:
    """Raise `InfrastructureFailure` where the machine is to blame for an outcome.

    A job that says that the disk is full is believed only where the disk has no room for the
    largest file that it might write.
    """
    blamed = any(sign in outcome.reason for sign in DISK_FULL)
    if outcome.status == "infrastructure" or (
        blamed and shutil.disk_usage(scratch).free < limits.file_bytes
    ):
        raise InfrastructureFailure(outcome.reason)


def refuse_faulty_checker(report: Mapping[str, Any], checkers: Sequence[str]) -> None:
    """Raise `PluginError` where one of the plugins' `checkers`, and not the design, is at fault."""
    fault = report["measurements"].get(FAULT)
    if fault is not None and fault["name"] in checkers:
        raise PluginError(
            fault["reason"],
            where=f"checker {fault['name']}",
            hint="the run needs all its checkers: mend or update the plugin and resume, or start"
            " another run without it",
        )


def failed_report(outcome: Outcome) -> dict[str, Any]:
    """Return the report of a check that did not come to its end."""
    finding: dict[str, Any] = {
        "code": (code := f"check.{outcome.status}"),
        "severity": "error",
        "message": outcome.reason,
        "advice": ADVICE[code],
        "unit": None,
        "line": None,
        "evidence": {},
    }
    return {"passed": False, "findings": [finding], "measurements": {}}
