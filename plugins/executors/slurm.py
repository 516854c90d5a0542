"""The executor of a Slurm cluster: one job per trial, which outlives the engine that asked for it.

    submit --> noted on the disk (`kept_job`) --> sbatch, through submitit (`slurm_cluster`)
                                                    | node: the sandbox (`slurm_node`)
    future <-- its files, its outcome <------------ v an outcome on the shared disk

One thread owns all jobs.  A job whose note an earlier session has left is not submitted again: it
is waited for, or its outcome is taken.  What Slurm does to a job (its time, a preemption, a lost
node) is the machine's fault and never the design's: the job begins again from its training
checkpoint, or is given back as `infrastructure`.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.executors.kept_job import KeptJob, key_of, note_folder
from genesys_engine.plugins.executors.news import (
    JobPlaced,
    NodeJoined,
    NodeLost,
    Tell,
    Waiting,
    untold,
)
from genesys_engine.plugins.executors.node import NodeJob, open_sandbox
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.executors.slurm_cluster import (
    NEVER,
    Busy,
    Cluster,
    JobState,
    Needs,
    SlurmCluster,
    demand_submitit,
    impossible,
)
from genesys_engine.plugins.executors.slurm_ends import AGAIN, OUT_OF_MEMORY, verdict
from genesys_engine.plugins.executors.slurm_local import LocalCluster
from genesys_engine.plugins.executors.slurm_options import SlurmOptions, minutes_of
from genesys_engine.plugins.executors.slurm_survey import survey
from genesys_engine.plugins.executors.survey import Offer
from genesys_engine.plugins.executors.terms import terms_here
from genesys_engine.plugins.sandbox import Isolation, Level, SandboxHost
from genesys_engine.plugins.sandbox.scratch import remove
from genesys_engine.plugins.trainers.live_curve import LIVE_CURVE

TICK_S = 0.25  # between two looks for outcomes, on this machine
SHARED_TICK_S = 1.0  # on a disk that nodes share
PATIENCE_S = 600.0  # with a cluster that takes no job, before it is given up
NEVER_S = 10.0  # that a reason to wait has to hold: the first one is often a vague one
LONG_S = 600.0  # in the queue, before it is mentioned
CLOSE_S = 30.0
BACKOFF_S = 5.0
SHORT = frozenset(
    {
        "genesys_engine.plugins.check_job:check",
        "genesys_engine.plugins.audit_job:audit",
        "genesys_engine.plugins.evaluate_job:controls",
    }
)
"""Jobs of seconds, which need no accelerator."""
MIB = 2**20
START_S, START_BYTES = 60.0, 2 << 30  # what a job needs next to what it runs


@dataclass
class _Ticket:
    """A job on its way; times are of the monotonic clock, 0.0 for not yet."""

    future: Future[Outcome]
    asked: NodeJob
    scratch: Path
    key: str
    job: KeptJob | None = None
    since: float = 0.0  # it waits in the queue
    gone: float = 0.0  # it has ended without an outcome
    never: float = 0.0  # it waits for a reason that does not pass
    refused: float = 0.0  # the cluster takes no job
    retry: float = 0.0  # when it is submitted again
    begun: bool = False
    mentioned: bool = False
    again: int = 0


class SlurmExecutor:
    """Implements `api.Executor` on Slurm, or on `mode = "local"` for a try without it.

    Raises:
        EnvironmentProblem: submitit is missing, or there is no Slurm, or it refuses such jobs.
    """

    Options = SlurmOptions
    on_nodes = True

    def __init__(
        self,
        options: SlurmOptions,
        *,
        workers: int,
        require: Level = "process",
        tell: Tell = untold,
    ) -> None:
        """Ask Slurm whether it takes such jobs; nothing is submitted yet."""
        demand_submitit()
        self.workers = workers
        self._options = options
        self._require: Level = require
        self._tell = tell
        self._cluster: Cluster = (
            SlurmCluster(options, options.requeues)
            if options.mode == "slurm"
            else LocalCluster(options, workers)
        )
        slurm = options.mode == "slurm"
        self._tick_s = min(SHARED_TICK_S, options.poll_s) if slurm else TICK_S
        self._pause_s = options.poll_s if slurm else TICK_S  # between two looks at the cluster
        self._here: SandboxHost | None = None
        self._lock = threading.Lock()
        self._new: queue.SimpleQueue[_Ticket] = queue.SimpleQueue()
        self._waiting: list[_Ticket] = []  # not submitted
        self._active: list[_Ticket] = []
        self._delivered: set[Path] = set()  # notes whose outcome this session has given
        self._homes: set[Path] = set()
        self._nodes: set[str] = set()
        self._out_of_memory: Counter[str] = Counter()
        self._looked = 0.0
        self._bell = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._supervise, name="slurm", daemon=True)
        self._thread.start()

    @staticmethod
    def survey(options: SlurmOptions) -> Iterator[Offer]:
        """Yield what the cluster offers; see `slurm_survey`."""
        return survey(options)

    def submit(
        self, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
    ) -> Future[Outcome]:
        """Run `target` ("module:function") on `payload`, with `scratch` as its folder.

        A job that waits in Slurm's queue can be cancelled.

        Raises:
            TypeError, ValueError: `payload` is not a JSON object.
            RuntimeError: the executor was closed.
        """
        if self._options.checks == "here" and target in SHORT:
            return self._sandbox_here().submit(target, payload, scratch, limits)
        folder = scratch.absolute()
        key = key_of(target, payload, folder)
        granted = replace(limits, accelerator=limits.accelerator or self._options.gpus > 0)
        ticket = _Ticket(Future(), NodeJob.of(target, payload, folder, granted), folder, key)
        with self._lock:
            if self._closing:
                raise RuntimeError("the executor was closed")
            self._new.put(ticket)
        self._bell.set()
        return ticket.future

    def close(self) -> None:
        """End every job, or leave those that run (`stop`); safe to call twice."""
        with self._lock:
            self._closing = True
            here = self._here
        self._bell.set()
        if here is not None:
            here.close()
        self._thread.join(CLOSE_S + 10)

    def _sandbox_here(self) -> SandboxHost:
        with self._lock:
            if self._closing:
                raise RuntimeError("the executor was closed")
            if self._here is None:
                self._here = open_sandbox(
                    self._options, workers=self.workers, require=self._require
                )
            return self._here

    # --- the thread that owns the jobs -------------------------------------------------------

    def _supervise(self) -> None:
        try:
            while not self._closing:
                self._bell.wait(self._tick_s)
                self._bell.clear()
                self._step()
            self._end()
        except BaseException as error:  # nobody would ever hear of these jobs
            for ticket in (*self._active, *self._waiting):
                if not ticket.future.done():
                    ticket.future.set_exception(error)
            raise

    def _step(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._waiting.append(self._new.get(block=False))
        for ticket in list(self._waiting):
            if self._closing:
                return
            self._begin(ticket)
        for ticket in list(self._active):
            self._look_for_outcome(ticket)
        if self._active and time.monotonic() - self._looked >= self._pause_s:
            self._looked = time.monotonic()
            self._look_at_cluster()

    # --- to the cluster ----------------------------------------------------------------------

    def _begin(self, ticket: _Ticket) -> None:
        """Submit a job that waits, or take up the one that an earlier session submitted."""
        if ticket.future.cancelled():
            self._withdraw(ticket)
            return
        most = self._cluster.most
        if time.monotonic() < ticket.retry or (most is not None and len(self._active) >= most):
            return
        try:
            if ticket.job is None:
                ticket.job = self._known(ticket) or self._prepared(ticket)
            if ticket.job.outcome is None and not ticket.job.number:
                self._hand_over(ticket, ticket.job)
        except Busy as busy:
            self._wait_for_cluster(ticket, str(busy))
            return
        except EnvironmentProblem as error:
            self._refuse(ticket, error)
            return
        except OSError as error:
            self._finish(ticket, Outcome("infrastructure", None, f"it cannot be noted: {error}"))
            return
        self._waiting.remove(ticket)
        self._active.append(ticket)
        ticket.since, ticket.gone, ticket.refused = time.monotonic(), 0.0, 0.0
        self._looked = 0.0

    def _known(self, ticket: _Ticket) -> KeptJob | None:
        """Return the job of the same key that an earlier session noted; one of another is ended."""
        note = note_folder(ticket.scratch)
        if note in self._delivered or self._is_in_use(note):
            return None
        known = KeptJob.noted(ticket.scratch, note)
        if known is None:
            return None
        if known.outcome is None and not known.number:  # killed while it was submitted
            known = replace(known, number=self._cluster.find(known))
        if known.key == ticket.key:
            return known
        self._cluster.cancel([known.number] if known.number else [])
        known.give_up()
        return None

    def _prepared(self, ticket: _Ticket) -> KeptJob:
        note, number = note_folder(ticket.scratch), 1
        self._delivered.discard(note)
        while self._is_in_use(note):  # two jobs in one folder, which no engine asks for
            number += 1
            note = note.with_name(f"{note_folder(ticket.scratch).name}-{number}")
        folder = self._options.folder
        request = {
            "job": ticket.asked.to_json(),
            "terms": terms_here(self._require).to_json(),
            "options": self._options.model_dump(include=set(SandboxOptions.model_fields)),
        }
        shared = None if folder is None else Path(folder).absolute()
        ticket.scratch.mkdir(parents=True, exist_ok=True)
        return KeptJob.prepare(ticket.scratch, note, ticket.key, shared, request)

    def _is_in_use(self, note: Path) -> bool:
        tickets = (*self._active, *self._waiting)
        return any(other.job is not None and other.job.note == note for other in tickets)

    def _hand_over(self, ticket: _Ticket, job: KeptJob) -> None:
        self._homes.add(job.home)
        if ticket.refused:  # it may have been taken although no answer came
            job = replace(job, number=self._cluster.find(job))
        if not job.number:
            job.take_files()
        number = job.number or self._cluster.submit(job, self._needs(ticket.asked.limits))
        ticket.job = job.numbered(number)

    def _needs(self, limits: Limits) -> Needs:
        """Return the time and the memory that a job of these limits is submitted with."""
        options = self._options
        minutes = math.ceil((limits.wall_s + options.start_s + START_S) / 60.0)
        if options.time is not None:
            minutes = minutes_of(options.time)
        memory = options.memory
        if memory is None and limits.memory_bytes:
            processes = 2 if limits.subject else 1  # what judges, and what runs the design
            memory = f"{math.ceil((limits.memory_bytes * processes + START_BYTES) / MIB)}M"
        return Needs(minutes, memory)

    def _wait_for_cluster(self, ticket: _Ticket, reason: str) -> None:
        """Submit it again in a while; a cluster that takes jobs of ours may have a limit."""
        now = time.monotonic()
        ticket.retry = now + BACKOFF_S
        if not ticket.refused:
            ticket.refused = now
            self._tell(Waiting(f"Slurm takes no job now: {reason}"))
        if now - ticket.refused > PATIENCE_S and not self._active:
            problem = EnvironmentProblem(
                f"Slurm has taken no job for {PATIENCE_S / 60:.0f} minutes: {reason}",
                where="[executor]",
                hint="see `sinfo` and `squeue`; resume the run when the cluster takes jobs again",
            )
            self._refuse(ticket, problem)

    # --- from the cluster --------------------------------------------------------------------

    def _look_for_outcome(self, ticket: _Ticket) -> None:
        job = ticket.job
        assert job is not None, "an active job has a note"
        if ticket.future.cancelled():
            self._withdraw(ticket)
            return
        if not ticket.begun and (started := job.started) is not None:
            self._begun(ticket, started.node)
            self._note_node(started.node, started.isolation, started.cpus, started.gpus)
        if (outcome := job.outcome) is None:
            return
        try:
            if outcome.status == "infrastructure":
                job.give_up()
            else:
                job.deliver()
                self._delivered.add(job.note)
        except OSError as error:  # the note stays: it is delivered when there is room
            outcome = Outcome("infrastructure", None, f"its files cannot be saved: {error}")
        self._finish(ticket, outcome)

    def _begun(self, ticket: _Ticket, node: str) -> None:
        """Note that a job runs: from now on it is not taken back, unless jobs may be left."""
        ticket.begun = True
        self._tell(JobPlaced(str(ticket.scratch), node))
        if self._options.stop == "cancel":
            ticket.future.set_running_or_notify_cancel()

    def _note_node(self, node: str, isolation: Mapping[str, Any], cpus: int, gpus: float) -> None:
        if node not in self._nodes:
            self._nodes.add(node)
            held = {name: value for name, value in isolation.items() if name != "level"}
            slots = max(1, cpus // self._options.cpus)
            self._tell(NodeJoined(node, Isolation(**held), slots, gpus))

    def _look_at_cluster(self) -> None:
        numbers = [ticket.job.number for ticket in self._active if ticket.job is not None]
        try:
            states = self._cluster.states(numbers)
        except Busy:
            return  # jobs go on without an answer
        for ticket in list(self._active):
            assert ticket.job is not None, "an active job has a note"
            state = states[ticket.job.number]
            if state.phase == "ended":
                self._ended(ticket, ticket.job, state)
            elif state.is_held:
                self._cluster.cancel([ticket.job.number])
                self._ended(ticket, ticket.job, replace(state, word=state.reason or state.word))
            elif state.phase == "running":
                ticket.gone = 0.0
                ticket.job.show((LIVE_CURVE,))
            else:
                self._waits(ticket, state)

    def _waits(self, ticket: _Ticket, state: JobState) -> None:
        """Mention a job that waits for long, once; end one that would wait for ever."""
        now = time.monotonic()
        ticket.never = (ticket.never or now) if state.reason in NEVER else 0.0
        if ticket.never and now - ticket.never > NEVER_S:
            message = f"Slurm will never run the job as it was asked for: {state.reason}"
            self._refuse(ticket, impossible(message, NEVER[state.reason], self._options))
        elif not ticket.mentioned and now - ticket.since > LONG_S:
            ticket.mentioned = True
            options = self._options
            asked = f"{options.cpus} CPUs, {options.gpus} GPUs, partition {options.partition}"
            minutes = LONG_S / 60
            self._tell(
                Waiting(
                    f"a job has been in Slurm's queue for {minutes:.0f} minutes ({state.reason});"
                    f" each asks for {asked}"
                )
            )

    def _ended(self, ticket: _Ticket, job: KeptJob, state: JobState) -> None:
        """Deal with a job that has left Slurm without an outcome, once it is sure that there will
        be none."""
        now = time.monotonic()
        ticket.gone = ticket.gone or now
        job.refresh()
        if now - ticket.gone < self._cluster.lag_s or job.outcome is not None:
            return
        started = job.started
        node = state.node or (started.node if started else "")
        if state.word in AGAIN and ticket.again < self._options.requeues:
            self._tell(NodeLost(node or "unknown", f"{job.name}: {state.word}"))
            ticket.again += 1
            ticket.job = job.numbered("")
            self._active.remove(ticket)
            self._waiting.append(ticket)
            return
        if state.word == OUT_OF_MEMORY:
            self._out_of_memory[ticket.key] += 1
        outcome = verdict(state, node, job.log(), self._out_of_memory[ticket.key])
        job.give_up()
        spent = {"wall_s": max(0.0, time.time() - started.at)} if started else {}
        self._finish(ticket, replace(outcome, facts={**spent, "node": node}))

    # --- ends --------------------------------------------------------------------------------

    def _finish(self, ticket: _Ticket, outcome: Outcome | EnvironmentProblem) -> None:
        """Give an outcome to who waits for it; of a job that was taken back meanwhile it stays
        noted."""
        self._drop(ticket)
        if not ticket.future.running() and not ticket.future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, Outcome):
            ticket.future.set_result(outcome)
        else:
            ticket.future.set_exception(outcome)

    def _refuse(self, ticket: _Ticket, problem: EnvironmentProblem) -> None:
        """Give a job up that the cluster will never run, and say why."""
        self._take_back(ticket)
        self._finish(ticket, problem)

    def _withdraw(self, ticket: _Ticket) -> None:
        """Let go of a job that nobody waits for any more."""
        if self._options.stop == "cancel" or not ticket.begun:
            self._take_back(ticket)
        elif ticket.job is not None:  # it goes on, and `resume` collects it
            self._homes.discard(ticket.job.home)
        self._drop(ticket)

    def _take_back(self, ticket: _Ticket) -> None:
        if (job := ticket.job) is None:
            return
        if job.number:
            self._cluster.cancel([job.number])
        job.give_up()

    def _drop(self, ticket: _Ticket) -> None:
        for tickets in (self._active, self._waiting):
            if ticket in tickets:
                tickets.remove(ticket)

    def _end(self) -> None:
        """Take the outcomes that are there, end or leave the other jobs, and leave nothing else."""
        with suppress(queue.Empty):
            while True:
                self._waiting.append(self._new.get(block=False))
        for ticket in list(self._active):
            self._look_for_outcome(ticket)
        left = self._options.stop == "leave"
        ending = [t for t in self._active if t.job is not None and not (left and t.begun)]
        numbers = [t.job.number for t in ending if t.job is not None]
        self._cluster.cancel(numbers)
        self._await_end(numbers)
        for ticket in (*ending, *self._waiting):
            if ticket.job is not None:
                ticket.job.give_up()
        for ticket in (*self._active, *self._waiting):
            if not ticket.future.cancel():
                ticket.future.set_result(Outcome("infrastructure", None, "the executor was closed"))
        left_running = {t.job.home for t in self._active if t.job is not None and t not in ending}
        for home in self._homes - left_running:
            remove(home)

    def _await_end(self, numbers: list[str]) -> None:
        """Wait until cancelled jobs have ended: only then are their files at rest."""
        end = time.monotonic() + CLOSE_S
        while numbers and time.monotonic() < end:
            with suppress(Busy):
                states = self._cluster.states(numbers)
                numbers = [n for n in numbers if states[n].phase != "ended"]
            if numbers:
                time.sleep(TICK_S)
