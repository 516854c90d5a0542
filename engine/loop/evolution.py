"""The loop: decide, hand out, collect, apply; every step one transaction of the store.

    while there is something to do:
        fewer than `lookahead` running tasks, and the policy has a decision?  -> issue it
        otherwise                                         -> apply the oldest task's result

Results arrive in any order and are made durable at once, but they enter the state in the order
in which their tasks were decided.  The sequence of decisions, and with it the event log, is
therefore the same for any number of workers, and after any number of interruptions.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import lru_cache

from genesys_engine.engine.check.confirmation import Confirmer
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.evaluate.verification import DEVICE_S, Verified
from genesys_engine.engine.evaluate.verifier import Verifier, device_s_of
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.results import ConfirmResult, DesignResult, Result, VerifyResult
from genesys_engine.engine.jobs.task_result import (
    RETRIES,
    Done,
    InfrastructureFailure,
    Running,
    TaskResult,
)
from genesys_engine.engine.jobs.tasks import (
    DESIGN,
    VERIFY,
    ConfirmTask,
    DesignTask,
    Task,
    VerifyTask,
)
from genesys_engine.engine.jobs.worker_jobs import Trial
from genesys_engine.engine.llm.gateway import LLMOutage
from genesys_engine.engine.llm.streak import Streak
from genesys_engine.engine.loop.node_news import note_level
from genesys_engine.engine.loop.outcomes import Outcomes
from genesys_engine.engine.loop.plugin_decisions import FAIL, RETRY, STOP, Decisions, TaskError
from genesys_engine.engine.propose.designer import Designer
from genesys_engine.engine.select.policy import (
    Confirm,
    Design,
    LookAtFinals,
    NextGeneration,
    OpenFinals,
    Policy,
    Verify,
)
from genesys_engine.engine.select.state import Snapshot, State
from genesys_engine.engine.store.checkpoints import checkpoint_name
from genesys_engine.engine.store.event_types import (
    DesignPinned,
    ErrorHandled,
    EventRecord,
    RunStopped,
    WorkerLost,
)
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.live_curves import LiveCurves
from genesys_engine.engine.store.node_events import NodeJoined
from genesys_engine.engine.store.run_store import Store, TaskRow
from genesys_engine.engine.store.samples import drop_samples
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem, PluginError
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import BudgetSpent, LLMInterrupted, LLMRefused, Parent


class Stopped(Exception):
    """The loop ended early on request, with everything that was finished made durable."""


RUN_ENDING_ERRORS = (Stopped, PluginError, LLMOutage, LLMRefused)
"""What ends a run that can be resumed, after what is running."""


class Evolution:
    """Runs the ask-tell loop over one store."""

    def __init__(
        self,
        store: Store,
        state: State,
        policy: Policy,
        designer: Designer,
        verifier: Verifier,
        confirmer: Confirmer,
        outcomes: Outcomes,
        *,
        decisions: Decisions,
        should_stop: Callable[[], str | None],
        observe: Callable[[Event], None],
        notices: queue.SimpleQueue[EventRecord] | None = None,
        pins: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        self.store = store
        self.state = state
        self.policy = policy
        self.designer = designer
        self.verifier = verifier
        self.confirmer = confirmer
        self.outcomes = outcomes
        self._decisions = decisions
        self._should_stop = should_stop
        self._observe = observe
        self._notices = notices or queue.SimpleQueue()
        self._pins = pins
        self._arrived: queue.SimpleQueue[tuple[int, Running]] = queue.SimpleQueue()
        self._tasks: dict[int, TaskRow] = {}  # running or waiting to be applied
        self._results: dict[int, Done] = {}
        self._running: dict[int, Running] = {}
        self._losses: dict[int, int] = {}
        self._retries: dict[int, int] = {}  # those that a plugin asked for
        self._draining = False  # nothing is started any more
        self._earlier: set[int] = set()  # tasks whose results an earlier session made
        self._streak = Streak(designer.gateway)
        self._saved: Snapshot | None = None  # what the store holds of the state, if that is known
        self._live = LiveCurves(store.curves, verifier.curve)
        self.tree = lru_cache(maxsize=256)(self._read_tree)

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> None:
        """Continue until nothing is left to do.

        Raises:
            Stopped: `should_stop` gave a reason; the run can be resumed.
            EnvironmentProblem: the workers failed repeatedly through no fault of a design.
            PluginError: an operator raised; the run can be resumed once it is fixed.
            LLMOutage, LLMRefused: a language model does not answer, or never will.
        """
        try:
            self._go_on()
        except RUN_ENDING_ERRORS as error:
            self._drain()
            if isinstance(error, LLMOutage | LLMRefused):
                self._emit_now(RunStopped(reason=error.message, exit_code=error.exit_code))
            raise
        finally:
            self._tell_notices()

    def _go_on(self) -> None:
        self._refuse_to_go_on()
        self._take_up()
        while True:
            self._collect(block=False)
            self._refuse_to_go_on()
            self._take_pins()
            if len(self.state.in_flight) < self.policy.settings.lookahead:
                decision = self.policy.decide(self.state)
                if isinstance(decision, NextGeneration | OpenFinals | LookAtFinals):
                    self._take_step(decision)
                    continue
                if decision is not None:
                    self._issue(decision)
                    continue
            if not self.state.in_flight:
                return
            if self._apply_oldest():
                reason = self._decisions.should_stop(self.state)
                if reason is not None:
                    raise Stopped(reason)

    def _refuse_to_go_on(self) -> None:
        if (reason := self._should_stop()) is not None:
            raise Stopped(reason)

    def _take_up(self) -> None:
        """Continue with the tasks that an earlier process decided and did not apply."""
        for row in self.store.tasks(unapplied_only=True):
            self._tasks[row.seq] = row
            if row.result is None:
                self._launch(row)
            else:
                self._earlier.add(row.seq)
                if row.kind == VERIFY:
                    self.verifier.settled(row.seq)
                self._results[row.seq] = TaskResult(row.result, row.facts)

    def _collect(self, *, block: bool) -> None:
        """Make arrived results durable; wait a moment for one if `block`."""
        self._tell_notices()
        if self._live.is_due and not self._draining:
            self._live.show(self._trials_under_way())
        try:
            seq, future = self._arrived.get(block=block, timeout=0.2 if block else None)
        except queue.Empty:
            return
        while True:
            self._receive(seq, future)
            try:
                seq, future = self._arrived.get(block=False)
            except queue.Empty:
                return

    def _receive(self, seq: int, future: Running) -> None:
        del self._running[seq]
        self._count_device(device_s_of(future))
        done = self._result_of(seq, future)
        if done is None:
            return
        with self.store.transaction(sync=self._tasks[seq].kind != DESIGN):
            self.store.add_result(seq, done.result, done.facts)
        self._results[seq] = done
        if self._tasks[seq].kind == VERIFY:
            self.verifier.settled(seq)

    def _trials_under_way(self) -> Iterator[tuple[int, int]]:
        """Yield the task and the number-to-be of every verification without a result."""
        number = self.state.counts.next_verification
        for seq in self.state.in_flight:
            if self._tasks[seq].kind == VERIFY:
                if seq in self._running:
                    yield seq, number
                number += 1

    def _count_device(self, seconds: float) -> None:
        """Count how long a verification kept its device, whatever is decided about it then.

        One whose result is lost by a kill right behind this is done, and counted, again.
        """
        if seconds:
            self.outcomes.device_s += seconds
            with self.store.transaction(sync=True):
                self.store.set_meta(DEVICE_S, self.outcomes.device_s)

    def _result_of(self, seq: int, future: Running) -> Done | None:
        """Return what a task gave; None where it is done again, now or when the run is resumed."""
        row = self._tasks[seq]
        try:
            done = future.result()
        except (CancelledError, LLMInterrupted):  # it is started again when the run is resumed
            return None
        except BudgetSpent as error:
            raise Stopped(str(error)) from error
        except (InfrastructureFailure, PluginError) as error:
            return self._broken(row, error)
        if isinstance(done.result, VerifyResult) and not done.result.ok:
            cause, reason = done.result.cause, done.result.reason
            return None if self._asked(row, "verification", cause, reason) == RETRY else done
        return done

    def _broken(self, row: TaskRow, error: Exception) -> Done | None:
        """Do with a task that came to no result what a plugin says, or else what is usual."""
        outage = isinstance(error, InfrastructureFailure)
        action = None
        if outage or not row.is_seed:  # without its seeds a run has no beginning
            stage, cause = ("infrastructure", "outage") if outage else ("design", "plugin")
            action = self._asked(row, stage, cause, str(error))
        if action == FAIL:
            return TaskResult(_aborted_result(row, str(error)))
        if action is None and not outage:
            raise error
        if action is None:
            self._relaunch(row.seq, str(error))
        return None

    def _asked(self, row: TaskRow, stage: str, cause: str, reason: str) -> str | None:
        """Ask the plugins about an error and do what they say; None leaves it to the engine.

        A seed cannot be abandoned: without its seeds a run has no beginning.

        Raises:
            Stopped: one ends the run; the task is done again when it is resumed.
        """
        seq, tried = row.seq, self._retries.get(row.seq, 0)
        about = {key: getattr(row.task, key, None) for key in ("design", "rung", "replicate")}
        error = TaskError(seq, stage, cause, reason, **about, attempt=tried + 1)
        action = self._decisions.on_error(error)
        if action is None or (action.what == RETRY and tried >= RETRIES):
            return None
        if action.what == FAIL and row.is_seed:
            return None
        self._emit_now(ErrorHandled(seq=seq, stage=stage, action=action.what, by=action.by))
        if action.what == STOP:
            raise Stopped(f"{action.by}, on an error: {reason}")
        if action.what == RETRY:
            self._retries[seq] = tried + 1
            if stage == "verification":  # its result is not wanted
                self.verifier.settled(seq)
            self._launch_again(row)
        return action.what

    def _relaunch(self, seq: int, reason: str) -> None:
        """Retry a task that was lost through no fault of its design."""
        self._losses[seq] = self._losses.get(seq, 0) + 1
        if self._losses[seq] > RETRIES and not self._draining:
            raise EnvironmentProblem(
                f"a worker failed {RETRIES + 1} times on the same task: {reason}",
                where=str(self.store.folder),
                hint="fix the cause (memory, disk, see `genesys-engine doctor`), then resume",
            )
        self._emit_now(WorkerLost(seq=seq, reason=reason))
        self._launch_again(self._tasks[seq])

    def _launch_again(self, row: TaskRow) -> None:
        """Begin a task again; while the run ends it stays undone until the run is resumed.

        Raises:
            Stopped: it is time to stop.
        """
        if self._draining:
            return
        self._refuse_to_go_on()
        self._launch(row)

    def _drain(self) -> None:
        """Take back what waits for a worker or a language model, then wait for what is running,
        so that what it cost is not lost."""
        self._draining = True
        self.designer.stop()
        for future in list(self._running.values()):
            future.cancel()
        while self._running:
            with suppress(*RUN_ENDING_ERRORS):  # the first one is reported already
                self._collect(block=True)

    def _take_pins(self) -> None:
        """Let in what a person asks for, between two decisions: the log has it at that place."""
        for design in self._pins():
            if design in self.state.standings and design not in self.state.pinned:
                with self._step():
                    self.state.pinned.add(design)
                    self.outcomes.emit(DesignPinned(design=design))

    # --- issuing -----------------------------------------------------------------------------

    def _issue(self, decision: Design | Verify | Confirm) -> None:
        """Record a decision, then carry it out."""
        with self._step():
            row = self.outcomes.issue(decision)
            self.store.add_task(row.seq, row.task)
        self._tasks[row.seq] = row
        self._launch(row)

    def _launch(self, row: TaskRow) -> None:
        future = self._start(row.seq, row.task)
        self._running[row.seq] = future
        future.add_done_callback(lambda done: self._arrived.put((row.seq, done)))

    def _start(self, seq: int, task: Task) -> Running:
        match task:
            case DesignTask():
                parents = [
                    Parent(p.design, self.tree(p.design), p.fitness, p.change) for p in task.parents
                ]
                return self.designer.start(seq, task, parents)
            case VerifyTask():
                return self._start_verification(seq, task)
            case ConfirmTask():
                return self.confirmer.start(self.store, task.design)

    def _start_verification(self, seq: int, task: VerifyTask) -> Future[Verified]:
        design, rung, replicate = task.design, task.rung, task.replicate
        scale = self.outcomes.scales[rung]
        try:
            report = self._report_at(design, scale, seq)
        except InfrastructureFailure as lost:
            return _ended(error=lost)
        if not report.passed:
            codes = ", ".join(finding.code for finding in report.findings)
            reason = f"its check at {scale}: {codes}"
            return _ended(TaskResult(VerifyResult.failed("check", reason)))
        fit = report.measurements.fits[scale]
        job = self.verifier.job(compose(self.tree(design)), fit.model, rung, replicate)
        name = checkpoint_name(design, rung, replicate)
        shared = self.verifier.shares(replicate)
        trial = Trial(design, self.store.design(design).digest, rung, scale, replicate)
        kept, passed = None if shared else name, report.passed
        return self.verifier.start(
            seq, job, kept, trial, parameters=fit.parameters, shared=shared, passed=passed
        )

    def _report_at(self, design: int, scale: str, seq: int) -> DesignReport:
        """Return the check report of a design, made anew where its check did not know `scale`: a
        run that was extended may have a further rung.

        Raises:
            InfrastructureFailure: the check could not be run.
        """
        known = self.store.report(design)
        if scale in known.measurements.fits:
            return known
        report = self.designer.check(compose(self.tree(design)), seq, 0)
        if report.passed:
            with self.store.transaction():
                self.store.set_report(design, report)
        return report

    def _read_tree(self, design: int) -> GABTree:
        return GABTree.from_json(self.store.tree(design))

    # --- applying ----------------------------------------------------------------------------

    def _apply_oldest(self) -> bool:
        """Let the oldest task's result enter the state, waiting for it if need be.

        Returns False where it is time to stop first.
        """
        seq = self.state.in_flight[0]
        while seq not in self._results:
            if self._should_stop() is not None:
                return False
            self._collect(block=True)
        row, done = self._tasks.pop(seq), self._results.pop(seq)
        with self._step():
            self.outcomes.apply(row, done)
            self.store.mark_applied(seq)
        if row.kind == VERIFY:
            self.store.curves.write_full_chunk()
            drop_samples(self.store.folder, seq)
        self.store.backup.make_if_due()
        if isinstance(done.result, DesignResult) and seq not in self._earlier:
            self._streak.note(seq, done.result.abandoned)
        return True

    def _take_step(self, step: NextGeneration | OpenFinals | LookAtFinals) -> None:
        """Carry out a decision that no task follows from."""
        with self._step():
            self.outcomes.take_step(step)

    # --- bookkeeping -------------------------------------------------------------------------

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Commit what is done inside together with the state after it, then tell the observers."""
        with self.store.transaction():
            yield
            snapshot = self.state.snapshot()
            if snapshot != self._saved:
                self.store.set_meta("state", to_json(snapshot))
            self.store.set_meta("wall_s", self.outcomes.wall_s())
        self._saved = snapshot
        self._publish()

    def _publish(self) -> None:
        for event in self.outcomes.take_events():
            self._observe(event)

    def _tell_notices(self) -> None:
        """Put into the log what the gateway and the executor tell; it decides nothing."""
        while True:
            try:
                notice = self._notices.get(block=False)
            except queue.Empty:
                return
            self._emit_now(notice)

    def _emit_now(self, record: EventRecord) -> None:
        with self.store.transaction():
            event = self.store.add_event(record, decisive=False)
            if isinstance(record, NodeJoined):
                note_level(self.store, record)
        self._observe(event)


def _ended(result: Verified | None = None, error: Exception | None = None) -> Future[Verified]:
    """Return the future of a task that has ended already."""
    future: Future[Verified] = Future()
    if error is not None:
        future.set_exception(error)
    else:
        assert result is not None
        future.set_result(result)
    return future


def _aborted_result(row: TaskRow, reason: str) -> Result:
    """Return the result of a task that a plugin declared failed."""
    match row.task:
        case VerifyTask():
            return VerifyResult.failed("infrastructure", reason)
        case ConfirmTask(design=design):
            return ConfirmResult(design, (), f"its audit was aborted: {reason}")
        case DesignTask():
            return DesignResult()


class WallClock:
    """Seconds worked on a run, over all its sessions."""

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._started = time.monotonic()

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self._before + time.monotonic() - self._started
