"""Designers: carry out a design task, away from the loop, in a thread each.

A child is drawn until one is new and passes its check: a child known by its digest costs
nothing, one that is rejected is kept with its findings.  An operator that spent something and has
no child to show for it ends the task.  Operators are trusted plugins and run here; what they wrote
is checked in the executor's isolated workers, never in this process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

from genesys_engine.engine.check.design_check import DesignCheck
from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.common.threads import DaemonPool
from genesys_engine.engine.config.schema import OwnSeed
from genesys_engine.engine.jobs.task import InfrastructureFailure, TaskResult
from genesys_engine.engine.llm.gateway import Gateway
from genesys_engine.engine.propose.checked_operator import MEND, checked_child, checked_details
from genesys_engine.engine.propose.lookup import Lookup
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem, InputError, PluginError
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import (
    BudgetSpent,
    Child,
    DesignAbandoned,
    LLMRefused,
    LLMRequestRefused,
    Operator,
    OperatorContext,
    OperatorNotApplicable,
    Parent,
)

NO_SEEDS: Mapping[str, OwnSeed] = {}


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
class WeightedOperator:
    """An operator of the experiment, by its registered name."""

    name: str
    operator: Operator
    weight: float


class Designer:
    """Makes designs; `known` maps digests and fingerprints to design numbers and only grows.

    Of the `seeds` operators are given those of the library; `own` are the others.
    """

    def __init__(
        self,
        operators: Sequence[WeightedOperator],
        check: DesignCheck,
        known: Mapping[str, int],
        *,
        seed: int,
        tries: int,
        seeds: Sequence[str],
        own: Mapping[str, OwnSeed] = NO_SEEDS,
        threads: int,
        gateway: Gateway | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._operators = operators
        self._check = check
        self._known = known
        self._seed, self._tries = seed, tries
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
        """Let nobody wait for a language model any more; its designs are started again later."""
        if self._gateway is not None:
            self._gateway.stop()

    def close(self) -> None:
        """Forget what has not started, and let the services go."""
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
        """Return the check report of a composed tree; see `DesignCheck.report`."""
        return self._check.report(source, f"{seq}-{attempt}")


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
        rng = generator(self.designer._seed, "design", self.seq)
        for _ in range(self.designer._tries):
            try:
                drawn = self._draw(rng)
            except _Abandoned as abandoned:
                replies = {} if self.llm is None else self.llm.last_replies()
                return self._ended(None, {**abandoned.record, **replies})
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
    """An operator gave the design up; `record` is what the run records of it."""

    def __init__(self, operator: str, code: str, reason: str, details: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.record = {
            "operator": operator,
            "code": code,
            "reason": reason.partition("\n")[0],
            "details": dict(details),
        }
