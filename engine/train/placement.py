"""Trials on their way to a worker: a plugin may know the result, or say where and how to run one.

`genesys_evaluate_candidate` and `genesys_place_trial` are asked in the loop's thread, in the order
of the decisions.  Where a trial runs and which one goes first changes the time that a run takes;
what enters the state, and when, follows from the decisions alone.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.options import PluginOptions
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.jobs.replies import VerifyReply
from genesys_engine.engine.jobs.worker_jobs import TrainJob, Trial, VerifyJob
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.api import Executor, Limits, Outcome
from genesys_engine.plugins.host import PluginHost, PluginRecord

EVALUATE, PLACE = "genesys_evaluate_candidate", "genesys_place_trial"
SUPPLIED_BY = "supplied_by"  # fact of a result that a plugin gave
GIB = 2**30
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Payload = Mapping[str, object]
"""A job as a worker reads it."""
OpenExecutor = Callable[[str, PluginOptions], AbstractContextManager[Executor]]
"""From name and options to an executor that meets what the experiment demands."""


class Place(BaseModel):
    """An answer of `genesys_place_trial`; what it leaves out stays as the experiment says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    executor: str | None = None
    options: PluginOptions = {}
    timeout_s: Positive | None = None
    memory_gib: Positive | None = None
    priority: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    def limits(self, limits: Limits) -> Limits:
        """Return the limits of a job that would have `limits` without this answer."""
        memory = None if self.memory_gib is None else int(self.memory_gib * GIB)
        return replace(
            limits,
            wall_s=self.timeout_s or limits.wall_s,
            memory_bytes=memory or limits.memory_bytes,
        )


@dataclass(frozen=True)
class Supplied:
    """The result of a trial that a plugin knows, and which plugin that is."""

    reply: VerifyReply
    by: str


@dataclass(frozen=True)
class Placed:
    """Where the jobs of one trial run: its training, and then its evaluation.

    The second stands before the first one of every later trial of the same priority.
    """

    queue: _Queue
    place: Place
    number: int

    def submit(self, target: str, job: Payload, scratch: Path, limits: Limits) -> Future[Outcome]:
        """Run a job of the trial."""
        waiting = _Waiting(target, job, scratch, self.place.limits(limits))
        return self.queue.submit(waiting, self.place.priority, self.number)


class Trials:
    """Hands trials out.

    Args:
        host: the plugins that are asked.
        executor: runs every trial that no plugin places elsewhere.
        name: what the experiment calls that executor.
        open_executor: opens another one, for as long as this object is open.
    """

    def __init__(
        self, host: PluginHost, executor: Executor, name: str, open_executor: OpenExecutor
    ) -> None:
        self._host = host
        self._name = name
        self._open = open_executor
        self._opened = ExitStack()
        self._queues = {canonical_json([name, {}]): _Queue(executor)}
        self._numbers = itertools.count()
        self._evaluates, self._places = host.implements(EVALUATE), host.implements(PLACE)

    def supplied(self, job: VerifyJob, trial: Trial) -> Supplied | None:
        """Return the result of a trial that a plugin knows, None where it has to be run.

        Raises:
            PluginError: a plugin raised, or gave no answer of the documented form.
        """
        if not self._evaluates:
            return None
        return self._recorded({**to_json(trial), **job.to_json()})

    def place(self, job: VerifyJob, trial: Trial, limits: Limits) -> Placed:
        """Return where the jobs of a trial run, how soon, and within what.

        Raises:
            PluginError: a plugin raised, or gave no answer of the documented form.
        """
        number = next(self._numbers)
        if not self._places:
            return Placed(self._own, Place(), number)
        return Placed(*self._placed(trial, job.training, limits), number)

    @property
    def may_be_supplied(self) -> bool:
        """Whether a plugin may give the result of a trial."""
        return self._evaluates

    def close(self) -> None:
        """Close the executors that were opened here."""
        self._opened.close()

    @property
    def _own(self) -> _Queue:
        return next(iter(self._queues.values()))

    def _recorded(self, candidate: Payload) -> Supplied | None:
        who, answer = self._host.decided(EVALUATE, candidate=candidate)
        if who is None:
            return None
        try:
            reply = VerifyReply.model_validate(thawed(answer))
            if reply.checkpoint is not None:
                raise ValueError("checkpoint: weights cannot be supplied")
        except (ValidationError, ValueError) as error:
            raise self._wrong(who, EVALUATE, error) from error
        return Supplied(reply, f"{who.distribution} {who.version}")

    def _placed(self, trial: Trial, job: TrainJob, limits: Limits) -> tuple[_Queue, Place]:
        about = {
            **to_json(trial),
            "model": to_json(job.model),
            "budget": to_json(job.budget),
            "executor": self._name,
            "timeout_s": limits.wall_s,
            "memory_gib": limits.memory_bytes / GIB,
        }
        who, answer = self._host.decided(PLACE, trial=about)
        if who is None:
            return self._own, Place()
        try:
            place = Place.model_validate(thawed(answer), strict=True)
            return self._queue(place), place
        except (ValidationError, ValueError, PluginError) as error:
            raise self._wrong(who, PLACE, error) from error

    def _queue(self, place: Place) -> _Queue:
        key = canonical_json([place.executor or self._name, place.options])
        if key not in self._queues:
            opened = self._open(place.executor or self._name, place.options)
            self._queues[key] = _Queue(self._opened.enter_context(opened))
        return self._queues[key]

    def _wrong(self, who: PluginRecord, hook: str, error: Exception) -> PluginError:
        faults = error.errors() if isinstance(error, ValidationError) else []
        reasons = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults)
        reason = reasons or getattr(error, "message", None) or str(error)
        return self._host.wrong_answer(
            who, hook, f"invalid return value: {reason}", "see docs/hooks.md"
        )


def thawed(value: Any) -> Any:
    """Return read-only JSON data, such as a payload that is given back, as dicts and lists."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thawed(item) for item in value]
    return value


class _Waiting(Future[Outcome]):
    """A trial that has not been handed to its executor, and its outcome once it was."""

    def __init__(self, target: str, job: Payload, scratch: Path, limits: Limits) -> None:
        super().__init__()
        self._arguments = (target, job, scratch, limits)
        self._inner: Future[Outcome] | None = None

    def hand_to(self, executor: Executor, then: Callable[[], None]) -> None:
        """Submit the job; `then` is called when it has ended, however it did."""
        self._inner = executor.submit(*self._arguments)

        def ended(inner: Future[Outcome]) -> None:
            then()
            try:
                self.set_result(inner.result())
            except Exception as error:  # reported to who waits for the trial
                self.set_exception(error)

        self._inner.add_done_callback(ended)

    def cancel(self) -> bool:
        return super().cancel() or (self._inner is not None and self._inner.cancel())


@dataclass(order=True)
class _Entry:
    """A waiting job in its queue: higher priorities first, then in the order of decisions."""

    priority: float
    number: int
    trial: _Waiting = field(compare=False)


class _Queue:
    """Trials that wait for one executor, which is given no more than it has workers for."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._waiting: list[_Entry] = []
        self._under_way = 0
        self._lock = threading.Lock()

    def submit(self, trial: _Waiting, priority: float, number: int) -> _Waiting:
        with self._lock:
            heapq.heappush(self._waiting, _Entry(-priority, number, trial))
        self._hand_out()
        return trial

    def _hand_out(self) -> None:
        while (trial := self._next()) is not None:
            trial.hand_to(self.executor, self._ended)

    def _next(self) -> _Waiting | None:
        with self._lock:
            while self._waiting and self._under_way < max(1, self.executor.workers):
                trial = heapq.heappop(self._waiting).trial
                if trial.set_running_or_notify_cancel():
                    self._under_way += 1
                    return trial
        return None

    def _ended(self) -> None:
        with self._lock:
            self._under_way -= 1
        self._hand_out()
