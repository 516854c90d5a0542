"""The implementation study: every arm turns the same proposals into designs (Table 3 of Genesys).

All arms get the same proposal, the same parent's code, the same check and the same judgement; on
each proposal their random generators also start in the same state.  Arms that ask until a budget
is spent get the tokens that the arm `equal_to` used on that proposal.

Work goes proposal by proposal, so that an unfinished study is a fair sample; arms with fewer
proposals come last.  A capped arm works on one proposal at a time, so that its usage is known;
where it ends depends on the clock only if the cap is in hours.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.compare.caps import (
    ArmClient,
    ArmSpent,
    Spent,
    cap_reached,
    is_capped,
    spent_by,
)
from genesys_engine.engine.compare.proposals import StudyProposal
from genesys_engine.engine.compare.results import CutShort, Implemented, Result
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.config.schema import CompareArm, CompareSection
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.llm.gateway import LLMOutage
from genesys_engine.engine.llm.spending import total
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.llm.faithful import Check, unfaithful
from genesys_engine.operators.llm.implementers import implementer
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.proposal import Implementation, Implementer
from genesys_engine.operators.llm.sources import function_lines
from genesys_engine.plugins.api import (
    LLM,
    BudgetSpent,
    LLMInterrupted,
    LLMRequestRefused,
    LLMUsage,
    OperatorContext,
    Parent,
)
from genesys_engine.plugins.registry import suggest
from genesys_engine.plugins.targets import read_options

WHOLE_BUDGET = ("best_of_n", "sequential")
"""Implementers that ask until their tokens are spent."""


@dataclass(frozen=True)
class Job:
    """One arm's work on one proposal; `index` is the proposal's number."""

    index: int
    proposal: StudyProposal
    arm: CompareArm


@dataclass(frozen=True)
class Ended:
    """The outcome of a job: its result, or the exception that interrupted it."""

    made: Implemented | BaseException
    seconds: float


StudiedCheck = Callable[[GABTree], DesignReport]


def failure_of(
    tree: GABTree | None, failure: str, proposal: StudyProposal, check: StudiedCheck
) -> str:
    """Return the stable code of why a design is not valid, "" if it is.

    It is valid if `tree` passes the check and is faithful, whatever the arm reports.

    Args:
        failure: the arm's reason for not making a tree.
    """
    if tree is None:
        return failure or "no design"
    if errors := check(tree).errors:
        return errors[0]
    paths = [change.path for change in proposal.proposal.changes]
    faults = unfaithful(tree, proposal.tree(), paths, _as_operators_ask(check))
    return faults[0].code if faults else ""


def _as_operators_ask(check: StudiedCheck) -> Check:
    """Return the check as in the public API, where reports are JSON."""
    return lambda tree: check(tree).to_json()


def plan_jobs(section: CompareSection, proposals: Sequence[StudyProposal]) -> list[Job]:
    """Return all jobs in order (see the module).

    Raises:
        InputError: an arm names an unknown proposal.
    """
    arms = sorted(section.arms, key=lambda arm: arm.name != section.equal_to)
    meets = {arm.name: _met_by(arm, [each.name for each in proposals]) for arm in arms}
    whole = [arm for arm in arms if len(meets[arm.name]) == len(proposals)]
    limited = [arm for arm in arms if arm not in whole]
    return [
        Job(i, each, arm)
        for group in (whole, limited)
        for i, each in enumerate(proposals)
        for arm in group
        if each.name in meets[arm.name]
    ]


def _met_by(arm: CompareArm, names: Sequence[str]) -> Collection[str]:
    """Return the names of the proposals that an arm gets."""
    if arm.proposals is None or isinstance(arm.proposals, int):
        return names[: arm.proposals]
    for name in arm.proposals:
        if name not in names:
            raise InputError(
                f"unknown proposal {name!r}",
                where=f"the arm {arm.name} of [compare]",
                hint=suggest(name, names),
            )
    return set(arm.proposals)


def open_arms(section: CompareSection) -> dict[str, Implementer]:
    """Return the implementer of every arm.

    Raises:
        InputError: an option or a template of an arm is invalid; the message names the arm.
    """
    found = {}
    for arm in section.arms:
        where = f"the arm {arm.name} of [compare]"
        try:
            options = read_options(ImplementerOptions, arm.options)
            assert isinstance(options, ImplementerOptions)
            found[arm.name] = implementer(arm.implementer, options)
        except InputError as error:
            raise InputError(error.message, where=where, hint=error.hint) from None
        except ValueError as error:
            raise InputError(f"its options are not usable: {error}", where=where) from None
    return found


class ImplementationStudy:
    """Carries out the remaining jobs of a study.

    Args:
        clients: returns the language models for the task of a given name.
        should_stop: returns a reason to stop the study, which can be resumed; else None.
        interrupt: ends all running requests.
        tell: called with each result when it is recorded.
    """

    def __init__(
        self,
        store: StudyStore,
        section: CompareSection,
        proposals: Sequence[StudyProposal],
        *,
        seed: int,
        threads: int,
        clients: Callable[[str], LLM],
        check: StudiedCheck,
        should_stop: Callable[[], str | None] = lambda: None,
        interrupt: Callable[[], None] = lambda: None,
        tell: Callable[[Result[Implemented]], None] = lambda result: None,
    ) -> None:
        self._store = store
        self._section = section
        self._jobs = plan_jobs(section, proposals)
        self._implementers = open_arms(section)
        self._seed = seed
        self._threads = threads
        self._clients = clients
        self._check = check
        self._should_stop = should_stop
        self._interrupt = interrupt
        self._tell = tell
        self._done = {(result.item, result.arm): result for result in store.results(Implemented)}
        self._cut = store.cut()
        self._ended: set[str] = set()

    def run(self) -> None:
        """Continue until every arm has finished its proposals or reached its cap.

        Raises:
            Stopped: `should_stop` gave a reason, or a budget of the whole study is spent.
            GenesysError: a service or the machine failed.
        """
        waiting = deque(
            job for job in self._jobs if (job.proposal.name, job.arm.name) not in self._done
        )
        running: dict[Future[Ended], Job] = {}
        with ThreadPoolExecutor(self._threads, thread_name_prefix="arm") as pool:
            try:
                while waiting or running:
                    if (reason := self._should_stop()) is not None:
                        raise Stopped(reason)
                    while len(running) < self._threads:
                        busy = {job.arm.name for job in running.values()}
                        if (job := self._next(waiting, busy)) is None:
                            break
                        running[pool.submit(self._work, job)] = job
                    self._receive(running)
            except BaseException as error:
                self._interrupt()
                self._drain(running, waited=isinstance(error, LLMOutage))
                raise

    def _next(self, waiting: deque[Job], busy: Collection[str]) -> Job | None:
        """Take the first job that can start now; drop those that a cap forbids."""
        capped = is_capped(self._section)
        for job in list(waiting):
            if capped and job.arm.name in busy:
                continue
            if self._forbidden(job, busy):
                waiting.remove(job)
            elif self._ready(job):
                waiting.remove(job)
                return job
        return None

    def _forbidden(self, job: Job, busy: Collection[str]) -> bool:
        """Return whether the arm is at its cap, or can never get an equal number of tokens.

        If a cap ended the arm `equal_to` before it finished the proposal, its tokens are unknown.
        """
        if self._is_over(job.arm.name):
            return True
        equal = self._section.equal_to
        return not self._ready(job) and equal not in busy and self._is_over(equal)

    def _is_over(self, arm: str) -> bool:
        if arm not in self._ended and cap_reached(self._section, self._spent(arm)) is not None:
            self._ended.add(arm)
        return arm in self._ended

    def _spent(self, arm: str) -> Spent:
        return spent_by(self._done.values(), arm, self._cut)

    def _ready(self, job: Job) -> bool:
        """Return whether the arm whose tokens this job may use has finished the proposal."""
        if job.arm.implementer not in WHOLE_BUDGET or not self._section.equal_to:
            return True
        key = (job.proposal.name, self._section.equal_to)
        expected = any((j.proposal.name, j.arm.name) == key for j in self._jobs)
        return key in self._done or not expected

    def _cut_short(self, arm: str, fault: BaseException, seconds: float) -> None:
        """Record the time that an arm spent on an interrupted proposal.

        When it resumes, its replies come from the record at once and take no time.
        """
        cap = str(fault) if isinstance(fault, ArmSpent) else ""
        if cap:
            self._ended.add(arm)
        before = self._cut.get(arm, CutShort())
        self._cut[arm] = CutShort(cap, before.seconds + seconds)
        self._store.keep_cut(self._cut)

    def _receive(self, running: dict[Future[Ended], Job]) -> None:
        """Wait briefly for results and record them."""
        if not running:
            return
        for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
            fault = self._take(running.pop(future), future.result())
            if fault is None or isinstance(fault, ArmSpent):
                continue
            if isinstance(fault, BudgetSpent):
                raise Stopped(str(fault))
            if isinstance(fault, LLMInterrupted):
                raise Stopped(self._should_stop() or "interrupted")
            raise fault

    def _drain(self, running: dict[Future[Ended], Job], *, waited: bool) -> None:
        """Record the jobs that still succeed; the first fault has been reported."""
        for future, job in running.items():
            if not future.cancel():
                self._take(job, future.result(), waited=waited)

    def _take(self, job: Job, ended: Ended, *, waited: bool = False) -> BaseException | None:
        """Record the outcome of a job; return the exception that interrupted it, if any.

        Time that a job only `waited` for a service does not count.
        """
        if isinstance(ended.made, BaseException):
            idle = waited or isinstance(ended.made, LLMOutage)
            self._cut_short(job.arm.name, ended.made, 0.0 if idle else ended.seconds)
            return ended.made
        self._record(job, ended.made, ended.seconds)
        return None

    def _record(self, job: Job, made: Implemented, seconds: float) -> None:
        result = Result(job.proposal.name, job.arm.name, made, seconds)
        self._store.add_result(result)
        self._done[result.item, result.arm] = result
        cut = self._cut.get(result.arm)
        if cut is not None and cut.cap:  # its cap was raised since
            self._cut[result.arm] = replace(cut, cap="")
            self._store.keep_cut(self._cut)
        self._tell(result)

    # --- one job, in a thread of its own -------------------------------------------------------

    def _work(self, job: Job) -> Ended:
        started = time.monotonic()
        made: Implemented | BaseException
        try:
            made = self._implement(job, started)
        except BaseException as fault:  # reported by the thread that records, with the time it took
            made = fault
        return Ended(made, time.monotonic() - started)

    def _implement(self, job: Job, started: float) -> Implemented:
        client = self._client(job, started)
        context = OperatorContext(
            rng=generator(self._seed, "implement", job.index),
            seeds=(job.proposal.parent,),
            llm=client,
            check=_as_operators_ask(self._check),
        )
        parent = Parent(0, job.proposal.tree(), None, f"Seed design {job.proposal.parent}.")
        try:
            made = self._implementers[job.arm.name].implement(
                job.proposal.proposal, [parent], context, token_cap=self._token_cap(job)
            )
        except LLMRequestRefused:  # this one request: a prompt that is too long
            made = Implementation(None, "llm.refused", 0)
        failure = failure_of(made.tree, made.failure, job.proposal, self._check)
        return _implemented(made, failure, client.usage())

    def _client(self, job: Job, started: float) -> LLM:
        """Return the language models of a job, with the caps of its arm."""
        client = self._clients(f"{job.proposal.name}/{job.arm.name}")
        if not is_capped(self._section):
            return client
        before = self._spent(job.arm.name)

        def check(usage: Mapping[str, LLMUsage]) -> None:
            now = Spent(total(usage), time.monotonic() - started)
            if (cap := cap_reached(self._section, before + now)) is not None:
                raise ArmSpent(cap)

        return ArmClient(client, check)

    def _token_cap(self, job: Job) -> int | None:
        """Return the tokens that a job may use, None for no limit."""
        caps = [self._section.proposal_tokens]
        equal = self._done.get((job.proposal.name, self._section.equal_to))
        if job.arm.implementer in WHOLE_BUDGET and equal is not None:
            caps.append(equal.made.used.tokens)
        return min((cap for cap in caps if cap is not None), default=None)


def _implemented(made: Implementation, failure: str, usage: Mapping[str, LLMUsage]) -> Implemented:
    """Return the record of a design and of how it was made."""
    repairs = Counter(name for entry in made.trace for name in entry.get("repairs", ()))
    tree = made.tree
    return Implemented(
        valid=not failure,
        failure=failure,
        attempts=made.attempts,
        usage=dict(sorted(usage.items())),
        lines=None if tree is None else sum(function_lines(u.source) for u in tree.units()),
        repairs=dict(sorted(repairs.items())),
        trace=tuple(dict(entry) for entry in made.trace),
        tree=None if tree is None else tree.to_json(),
    )
