"""Designers: carry out a design task, away from the loop, in a thread each.

A child is drawn until one is new and passes its check: a child known by its digest costs
nothing, one that is rejected is kept with its findings.  An operator that spent something and has
no child to show for it ends the task.  Operators are trusted plugins and run here; what they wrote
is checked in the executor's isolated workers, never in this process.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from pydantic import JsonValue

from genesys_engine.engine.check.design_check import DesignCheck
from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.threads import DaemonPool
from genesys_engine.engine.config.schema import OwnSeed
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.facts import Fact
from genesys_engine.engine.jobs.results import Abandoned, DesignEntry, DesignResult, Duplicate
from genesys_engine.engine.jobs.retrieved import RETRIEVED, Found, Retrieved, Search
from genesys_engine.engine.jobs.task_result import InfrastructureFailure, TaskResult
from genesys_engine.engine.jobs.tasks import DesignTask, OperatorWeights
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
    Document,
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
        self, seq: int, task: DesignTask, parents: Sequence[Parent]
    ) -> Future[TaskResult[DesignResult]]:
        """Begin a design task."""
        return self._threads.submit(self._make, seq, task, tuple(parents))

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
        self, seq: int, task: DesignTask, parents: tuple[Parent, ...]
    ) -> TaskResult[DesignResult]:
        started = time.monotonic()
        attempts = _Attempts(self, seq, task, parents)
        result = attempts.seed(task.seed) if task.seed else attempts.vary()
        facts: dict[str, Fact] = {"design_s": time.monotonic() - started}
        if attempts.retrieved:
            facts[RETRIEVED] = json.dumps(to_json(Retrieved(tuple(attempts.retrieved))))
        return TaskResult(result, facts)

    def check(self, source: str, seq: int, attempt: int) -> DesignReport:
        """Return the check report of a composed tree; see `DesignCheck.report`."""
        return self._check.report(source, f"{seq}-{attempt}")


class _Attempts:
    """The tries of one design task: what was drawn, dropped and rejected on the way."""

    def __init__(
        self,
        designer: Designer,
        seq: int,
        task: DesignTask,
        parents: tuple[Parent, ...],
    ) -> None:
        self.designer = designer
        self.seq = seq
        self.parents = parents
        self.task = task
        self.weights = task.weights or OperatorWeights()
        self.llm = None if designer._gateway is None else designer._gateway.client(str(seq))
        self.reports: dict[str, DesignReport] = {}
        self.duplicates: list[Duplicate] = []
        self.rejected: list[DesignEntry] = []
        self.retrieved: list[Search] = []
        self.not_applicable = 0

    def seed(self, name: str) -> DesignResult:
        """Check a seed design."""
        return self._ended(self._try(self.designer.seed(name), f"seed:{name}"))

    def vary(self) -> DesignResult:
        """Draw children until one is new and passes its check."""
        rng = generator(self.designer._seed, "design", self.seq)
        for _ in range(self.designer._tries):
            try:
                drawn = self._draw(rng)
            except _GivenUp as given_up:
                role, reply = (None, None) if self.llm is None else self.llm.last_reply()
                return self._ended(None, replace(given_up.record, role=role, reply=reply))
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
        context = OperatorContext(
            rng=rng,
            seeds=self.designer._seeds,
            llm=self.llm,
            check=lambda tree: self._check(tree).to_json(),
            place_weights=self.weights.places,
        )
        if (lookup := self.designer._lookup) is None:
            return context
        return replace(
            context,
            search=self._search,
            tried=lookup.tried(self.task),
            history=lookup.history(self.task),
        )

    def _search(self, query: str, limit: int) -> Sequence[Document]:
        """Return passages near to `query`, and note which there were: a reader will ask."""
        assert self.designer._lookup is not None
        found = self.designer._lookup.search(query, limit)
        self.retrieved.append(Search(query, tuple(Found.of(each) for each in found)))
        return found

    def _check(self, tree: GABTree) -> DesignReport:
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
        learned = self.weights.operators
        weights = [entry.weight * learned.get(entry.name, 1.0) for entry in fitting]
        entry = rng.choices(fitting, weights)[0]
        try:
            answer = entry.operator(self.parents, self._context(rng))
        except OperatorNotApplicable:
            return None
        except DesignAbandoned as error:
            details = checked_details(error.details, entry.name)
            raise _GivenUp(entry.name, str(error.code), str(error), details) from error
        except LLMRequestRefused as error:
            raise _GivenUp(entry.name, "llm.refused", error.message, {}) from error
        except OF_SERVICES:
            raise
        except Exception as error:
            raise PluginError(
                f"raised {type(error).__name__}: {error}",
                where=f"operator {entry.name}",
                hint=MEND,
            ) from error
        return entry.name, checked_child(answer, entry.name)

    def _try(self, child: Child, operator: str) -> DesignEntry | None:
        """Return the entry of an accepted child, or None after noting why it was dropped."""
        tree, origin = child.tree, (operator, child.change)
        if self._is_known(tree.digest, *origin) or self._was_rejected(tree.digest):
            return None
        report = self._check(tree)
        details = dict(child.details)
        place = changed_interface(child, self.parents)
        entry = DesignEntry(tree.to_json(), tree.digest, *origin, details, report, place=place)
        if not report.passed:
            self.rejected.append(entry)
            return None
        fingerprint = report.measurements.fingerprint
        known = self._is_known(fingerprint, *origin)
        return None if known else replace(entry, fingerprint=fingerprint)

    def _was_rejected(self, digest: str) -> bool:
        return any(entry.digest == digest for entry in self.rejected)

    def _is_known(self, digest: str | None, operator: str, change: str) -> bool:
        of = self.designer._known.get(digest) if digest else None
        if of is None or of >= self.task.known_before:
            return False
        self.duplicates.append(Duplicate(of, operator, change))
        return True

    def _ended(
        self, accepted: DesignEntry | None, abandoned: Abandoned | None = None
    ) -> DesignResult:
        used = {} if self.llm is None else self.llm.usage()
        return DesignResult(
            accepted,
            tuple(self.rejected),
            tuple(self.duplicates),
            self.not_applicable,
            abandoned,
            dict(sorted(used.items())) or None,
        )


def changed_interface(child: Child, parents: Sequence[Parent]) -> str:
    """Return the interface of the place of the first parent that was changed.

    Operators name it by its path in their details; "" where there is none, as of a new tree.
    """
    path = child.details.get("path")
    places = parents[0].tree.places() if parents and path else []
    return next((place.node.ret for place in places if place.path == path), "")


class _GivenUp(Exception):
    """An operator gave the design up; `record` is what the run records of it."""

    def __init__(
        self, operator: str, code: str, reason: str, details: Mapping[str, JsonValue]
    ) -> None:
        super().__init__(reason)
        self.record = Abandoned(operator, code, reason.partition("\n")[0], details)
