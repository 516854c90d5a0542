"""The executor of a Ray cluster: one warm host per node, and the jobs handed to those with room.

    submit ──> queue ──> a host with room ──> `NodeHost.run` ──> outcome, files
                 ^                              │ the host is lost
                 └──────── run again ───────────┘

A thread of its own looks after the nodes (those that join late, too) and the queue; a thread per
running job waits for its end.  Ray places hosts and counts their resources; within a host the
sandbox is that of a single machine.  A job is run again where its host was lost, and on another
node, if there is one, where its node could not run it (a full disk, a plugin that is missing).
Where a node's memory monitor killed it, it is run again alone, on another node if there is one, and
only a second time is the design's fault.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.executors.news import (
    JobPlaced,
    NodeDiffers,
    NodeJoined,
    NodeLost,
    NodeRefused,
    Tell,
    Waiting,
    untold,
)
from genesys_engine.plugins.executors.node import NodeJob
from genesys_engine.plugins.executors.ray_cluster import WHERE, Cluster, Host, RayNode, RayOptions
from genesys_engine.plugins.executors.ray_host import Ran
from genesys_engine.plugins.executors.survey import Offer
from genesys_engine.plugins.executors.terms import terms_here
from genesys_engine.plugins.executors.transport import Transport
from genesys_engine.plugins.sandbox import Level

LOOK_S = 1.0  # between two looks at the nodes
START_S = 120.0  # until a host that has not started is asked for elsewhere
FAULTY = 3  # starts of a host that fail, until its node gets no more
HUNG_S = 120.0  # behind a job's deadline, until its node counts as lost
_CLOSE_S = 2.0


@dataclass
class _Ticket:
    """A job on its way, with what has happened to it so far."""

    job: NodeJob
    future: Future[Outcome]
    begun: bool = False  # and cannot be cancelled any more
    losses: int = 0
    failed_on: list[str] = field(default_factory=list)  # nodes that others are preferred to
    killed_on: list[str] = field(default_factory=list)  # nodes that ran out of memory with it


class RayExecutor:
    """Implements `api.Executor` on a Ray cluster.

    Args:
        workers: jobs that run at the same time, over all nodes.
        require: the level of isolation that every node must reach.
        tell: gets the news of nodes and jobs, from any thread.

    Raises:
        EnvironmentProblem: there is no cluster, or none of its nodes can have any work.
    """

    Options = RayOptions
    on_nodes = True

    def __init__(
        self,
        options: RayOptions,
        *,
        workers: int,
        require: Level = "process",
        tell: Tell = untold,
    ) -> None:
        self.workers = workers
        self._options = options
        self._terms = terms_here(require)
        self._tell = tell
        self._queue: deque[_Ticket] = deque()
        self._hosts: list[Host] = []
        self._refused: dict[str, str] = {}  # node id -> why
        self._failures: Counter[str] = Counter()  # node id -> starts of a host that failed
        self._wake = threading.Condition()
        self._closing = False
        self._idle_since = time.monotonic()  # no host since
        self._said = False
        self._started: Future[None] = Future()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="ray-job")
        self._thread = threading.Thread(target=self._supervise, name="ray", daemon=True)
        self._thread.start()
        try:
            self._started.result(options.connect_s)
        except BaseException as error:
            self._closing = True  # whatever the thread still waits for
            if not isinstance(error, TimeoutError):
                self._thread.join()  # it leaves the cluster, which another executor may join then
                raise
            raise EnvironmentProblem(
                f"the Ray cluster at {options.address or 'this machine'} has not answered within"
                f" {options.connect_s:g} s",
                where=WHERE,
                hint="see `ray status` there, or set a longer connect_s",
            ) from None

    @staticmethod
    def survey(options: RayOptions) -> Iterator[Offer]:
        """Yield what a cluster offers: its nodes, what is free there, and who may have work.

        Starts nothing: without an address it is the cluster that runs on this machine, if any.
        """
        address = options.address or "auto"
        try:
            cluster = Cluster(options.model_copy(update={"address": address}), workers=1)
        except EnvironmentProblem as error:
            fix = error.hint or ""
            if options.address is None:
                fix = "a run starts one on this machine; for another one set executor.address"
            yield Offer("ray cluster", options.address is None, error.message, fix)
            return
        try:
            yield Offer("ray cluster", True, f"{cluster.version}, {cluster.offers()}")
            terms = terms_here("process")
            for node in cluster.nodes():
                fault = cluster.fault(node, terms)
                jobs = cluster.fits(node)
                found = fault or f"room for {jobs} jobs at a time; {cluster.level(node)}"
                fix = "install the versions of this machine there" if fault else ""
                if not fault and not jobs:
                    fix = "wait for room, or ask for less: executor.num_cpus, num_gpus, resources"
                yield Offer(f"node {node.name}", not fix, found, fix)
        finally:
            cluster.close()

    def submit(
        self, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
    ) -> Future[Outcome]:
        """Run `target` ("module:function") on `payload` on some node; see `api.Executor`.

        Raises:
            EnvironmentProblem: the job wants an accelerator, and jobs get none here.
            RuntimeError: the executor was closed.
        """
        if limits.accelerator and not self._options.num_gpus:
            raise EnvironmentProblem(
                "trainings are to use a GPU, and the executor asks the cluster for none",
                where=f"{WHERE}: num_gpus",
                hint='set [executor] num_gpus = 1 (or a fraction), or [trainer] device = "cpu"',
            )
        ticket = _Ticket(NodeJob.of(target, payload, scratch, limits), Future())
        with self._wake:
            if self._closing:
                raise RuntimeError("the executor was closed")
            self._queue.append(ticket)
            self._hand_out()
        return ticket.future

    def close(self) -> None:
        """End every job and every host; safe to call twice."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        self._threads.shutdown(wait=True)

    # --- the supervisor thread: looks after the nodes --------------------------------------------

    def _supervise(self) -> None:
        """Connect, work, leave.  A cluster that was started here lives as long as this thread."""
        try:
            self._cluster = Cluster(self._options, self.workers, lambda: self._closing)
        except BaseException as error:
            self._started.set_exception(error)
            return
        try:
            self._look_at_nodes()
            if not self._hosts and self._refused:
                raise self._nowhere()
            self._started.set_result(None)
            while not self._closing:
                self._step()
        except BaseException as error:
            if self._started.done():
                self._give_up(f"the executor failed: {error!r}")
                raise
            self._started.set_exception(error)
        finally:
            self._leave()

    def _step(self) -> None:
        self._look_at_nodes()
        self._say_what_is_missing()
        with self._wake:
            self._wake.wait_for(lambda: self._closing, LOOK_S)

    def _look_at_nodes(self) -> None:
        """Let hosts in that have started, and start others where jobs have room."""
        for host in [host for host in self._hosts if not host.running]:
            if self._cluster.is_ready(host.ready):
                self._let_in(host)
            elif time.monotonic() - host.asked_at > START_S:  # others have taken its room
                with self._wake:
                    self._hosts.remove(host)
                self._cluster.kill(host)
        wanted = self.workers - sum(host.slots for host in self._hosts)
        if wanted <= 0:
            return
        taken = {host.node.id for host in self._hosts if not host.running}  # still reserving
        for node in self._cluster.nodes():
            if node.id in self._refused or node.id in taken or wanted <= 0:
                continue
            slots = min(wanted, self._cluster.fits(node))
            if slots and not self._is_refused(node):
                host = self._cluster.host(node, slots, self._terms)
                with self._wake:
                    self._hosts.append(host)
                wanted -= slots
        self._cluster.ask_for(self.workers if wanted > 0 else 0)

    def _is_refused(self, node: RayNode) -> bool:
        """Ask a node whether it meets the terms, once."""
        try:
            fault = self._cluster.fault(node, self._terms)
        except Exception as error:  # it is going down, or cannot start a process
            fault = "" if not _is_alive(self._cluster, node) else f"it does not answer: {error}"
            if not fault:
                return True
        if fault:
            self._refuse(node, fault)
        return bool(fault)

    def _refuse(self, node: RayNode, why: str) -> None:
        """Give a node no work from now on."""
        self._refused[node.id] = why
        self._tell(NodeRefused(node.name, why))

    def _let_in(self, host: Host) -> None:
        try:
            isolation = self._cluster.get(host.ready)
        except Exception as error:
            self._drop(host, _reason(error))
            self._failures[host.node.id] += 1
            if self._failures[host.node.id] == FAULTY:
                self._refuse(host.node, f"its host failed {FAULTY} times: {_reason(error)}")
            return
        with self._wake:
            host.running = True
            self._hand_out()
        gpus = self._options.num_gpus * host.slots
        self._tell(NodeJoined(host.node.name, isolation, host.slots, gpus))

    def _drop(self, host: Host, reason: str) -> None:
        """Have nothing to do with a host any more."""
        with self._wake:
            if host.gone:
                return
            host.gone = True
            self._hosts.remove(host)
        self._cluster.kill(host)
        if not self._closing:
            self._tell(NodeLost(host.node.name, reason))

    def _nowhere(self) -> EnvironmentProblem:
        names = {node.id: node.name for node in self._cluster.nodes()}
        reasons = [f"node {names.get(n, n[:6])}: {why}" for n, why in self._refused.items()]
        return EnvironmentProblem(
            "no node of the Ray cluster can have any work:\n" + "\n".join(reasons),
            where=WHERE,
            hint="install the same genesys-engine and plugins on all nodes, or lower"
            " [sandbox] require for code that you trust",
        )

    def _say_what_is_missing(self) -> None:
        """Say once that jobs wait and nothing can run them: what is asked, and what there is."""
        if any(host.running for host in self._hosts):
            self._idle_since, self._said = time.monotonic(), False
        waited = time.monotonic() - self._idle_since
        if self._said or not self._queue or waited < self._options.patience_s:
            return
        self._said = True
        options = self._options
        asked = {"CPU": options.num_cpus, "GPU": options.num_gpus, **options.resources}
        each = ", ".join(f"{name} {n:g}" for name, n in asked.items() if n)
        self._tell(
            Waiting(
                f"no node has had room for a job for {waited:.0f} s; a job takes {each}, and the"
                f" cluster has {self._cluster.offers()}; nodes that get no work:"
                f" {len(self._refused)}. It starts as soon as a node has room"
            )
        )

    # --- handing out -----------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Hand the waiting jobs to hosts with room; `_wake` is held, by whatever thread."""
        for ticket in [] if self._closing else list(self._queue):
            host = self._room_for(ticket)
            if host is None:
                return
            self._queue.remove(ticket)
            if not (ticket.begun or ticket.future.set_running_or_notify_cancel()):
                continue
            ticket.begun = True
            host.busy += 1
            host.alone = bool(ticket.killed_on)
            self._threads.submit(self._serve, ticket, host)

    def _room_for(self, ticket: _Ticket) -> Host | None:
        """Return the host with most room; one that ran out of memory has one for itself."""
        able = [host for host in self._hosts if host.running and not host.alone]
        able = [host for host in able if host.node.name not in ticket.failed_on] or able
        able = [host for host in able if host.busy < (1 if ticket.killed_on else host.slots)]
        return max(able, key=lambda host: host.slots - host.busy, default=None)

    # --- a thread per job ------------------------------------------------------------------------

    def _serve(self, ticket: _Ticket, host: Host) -> None:
        try:
            self._tell(JobPlaced(ticket.job.scratch, host.node.name))
            outcome: Outcome | None = self._run(ticket, host)
        except Exception as error:
            outcome = self._after_error(ticket, host, error)
        with self._wake:
            host.busy -= 1
            host.alone = False
            if outcome is None:
                self._queue.appendleft(ticket)
            self._hand_out()
        if outcome is not None:
            ticket.future.set_result(outcome)

    def _run(self, ticket: _Ticket, host: Host) -> Outcome | None:
        transport = Transport(self._cluster, host, ticket.job)
        patience = ticket.job.limits.wall_s + self._options.start_s + HUNG_S
        ran: Ran = transport.run(patience)
        for path in transport.differed:
            self._tell(NodeDiffers(host.node.name, path))
        if ran.outcome.status == "infrastructure":
            return self._elsewhere(ticket, host, ran.outcome)
        return ran.outcome

    def _after_error(self, ticket: _Ticket, host: Host, error: Exception) -> Outcome | None:
        """Return what a job came to that could not be carried out; None where it is run again."""
        raised = self._cluster.raised_there(error)
        if isinstance(raised, OSError):  # its disk is full
            reason = f"node {host.node.name}: {raised}"
            return self._elsewhere(ticket, host, Outcome("infrastructure", None, reason))
        if isinstance(error, OSError) and not self._cluster.is_of_ray(error):
            return Outcome("infrastructure", None, f"{error}")  # here: a file is gone, a full disk
        return self._after_loss(ticket, host, error)

    def _elsewhere(self, ticket: _Ticket, host: Host, outcome: Outcome) -> Outcome | None:
        """Return an outcome that is a node's fault; None where another node can try."""
        ticket.failed_on.append(host.node.name)
        ticket.losses += 1
        with self._wake:
            names = {other.node.name for other in self._hosts if other.running}
        others = names.difference(ticket.failed_on)
        return None if others and ticket.losses <= self._options.retries else outcome

    def _after_loss(self, ticket: _Ticket, host: Host, error: Exception) -> Outcome | None:
        """Return what a job came to whose host was lost; None where it is run again."""
        reason = _reason(error)
        self._drop(host, reason)
        where = f"node {host.node.name}"
        if self._closing:
            return Outcome("infrastructure", None, "the executor was closed")
        if self._cluster.out_of_memory(error):
            ticket.failed_on.append(host.node.name)
            ticket.killed_on.append(host.node.name)
            if len(ticket.killed_on) > 1:
                nodes = " and ".join(ticket.killed_on)
                reason = f"the memory monitor killed it twice, the second time alone: {nodes}"
                return Outcome("memory", None, reason)
            return None
        ticket.losses += 1
        if ticket.losses > self._options.retries:
            return Outcome("infrastructure", None, f"{where} was lost with it: {reason}")
        return None

    # --- the end ---------------------------------------------------------------------------------

    def _leave(self) -> None:
        """End all hosts, in order where they answer at once, and give back what waits."""
        with self._wake:
            self._closing = True
            hosts = [host for host in self._hosts if host.running]
        asked = [host.actor.close.remote() for host in hosts]
        end = time.monotonic() + _CLOSE_S
        for ref in asked:
            with suppress(Exception):
                self._cluster.get(ref, max(0.05, end - time.monotonic()))
        for host in list(self._hosts):
            self._cluster.kill(host)
        self._give_up("the executor was closed")
        self._threads.shutdown(wait=True)
        self._cluster.close()

    def _give_up(self, reason: str) -> None:
        """Answer every job that waits with `infrastructure`."""
        with self._wake:
            self._closing = True
            tickets = list(self._queue)
            self._queue.clear()
        for ticket in tickets:
            if ticket.begun or ticket.future.set_running_or_notify_cancel():
                ticket.future.set_result(Outcome("infrastructure", None, reason))


def _is_alive(cluster: Cluster, node: RayNode) -> bool:
    return any(other.id == node.id for other in cluster.nodes())


def _reason(error: BaseException) -> str:
    """Return the first lines of what Ray says, without its general advice."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(" Some common causes include")[0][-400:]
