"""The engine's side of the sandbox: a queue of jobs in, a future of `Outcome` for each out.

One supervisor thread owns the template process and all state but the queue.  Next to the
template's own watch over deadlines it keeps a second one: a template that has not reported a
job's end some seconds after its deadline is hung, and is killed with all that it started.

When a template dies, the jobs that it ran are run again, once, each of them alone.  A job that
was alone when its template died a second time did it, and counts as crashed; so an innocent
neighbour recovers and the guilty one is not asked for ever.  A job that somebody else killed (the
kernel, where all jobs together wanted too much memory) is run again in the same way.

Where there is a filter on system calls a job can neither kill itself nor its template with SIGKILL:
whoever died of that twice was killed from outside, which is `infrastructure` and no fault of the
job.  Without the filter it counts as crashed, as above.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.sandbox.devices import DeviceShares, devices_here
from genesys_engine.plugins.sandbox.isolation import Level
from genesys_engine.plugins.sandbox.judge import judge
from genesys_engine.plugins.sandbox.link import TemplateLink
from genesys_engine.plugins.sandbox.protocol import (
    Ended,
    Job,
    Limits,
    Outcome,
    Status,
    encode_frame,
    pack_payload,
)

_CLOSE_S = 2.0


@dataclass
class _Ticket:
    """A job on its way: queued, or running since `sent` (0: queued); `payload` is a file."""

    job: Job
    payload: int
    future: Future[Outcome]
    sent: float = 0.0
    attempts: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class SandboxHost:
    """Runs jobs in isolated processes, at most `workers` at a time, first come first served.

    Args:
        workers: jobs that run at the same time, at least 1.
        preload: modules that the template imports once, so that no job has to.  They are our
            own or of the installed stack, never a candidate's.
        max_restarts: how often in a row the template may fail to start before the jobs that
            wait are given back as `infrastructure`.
        start_s: seconds that the template may take to import `preload`.
        guard_s: seconds after a job's deadline at which the template counts as hung.
        require: the level of isolation below which no job runs.
        at_most: the level beyond which no measure is used.
        devices: what CUDA_VISIBLE_DEVICES may name; None: what there is.
        jobs_per_device: jobs with an accelerator that may share a device.

    Raises:
        EnvironmentProblem: this system cannot fork.
    """

    def __init__(
        self,
        *,
        workers: int,
        preload: Sequence[str] = ("torch",),
        max_restarts: int = 3,
        start_s: float = 120.0,
        guard_s: float = 5.0,
        require: Level = "process",
        at_most: Level = "strict",
        devices: Sequence[str] | None = None,
        jobs_per_device: int = 1,
    ) -> None:
        if not hasattr(os, "fork"):
            raise EnvironmentProblem(
                "isolated jobs need a system that can fork", hint="use Linux, macOS or WSL"
            )
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self._preload = tuple(preload)
        self._max_restarts = max_restarts
        self._start_s = start_s
        self._guard_s = guard_s
        self._levels = (require, at_most)
        known = devices_here() if devices is None else devices
        self._devices = DeviceShares(known, workers, jobs_per_device)
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._running: dict[int, _Ticket] = {}
        self._link: TemplateLink | None = None
        self._failures = 0
        self._closing = False
        self._wake, self._bell = socket.socketpair()
        self._bell.setblocking(False)
        self._thread = threading.Thread(target=self._supervise, name="sandbox", daemon=True)
        self._thread.start()

    @property
    def template_pid(self) -> int | None:
        """The process id of the present template, None while there is none."""
        link = self._link
        return link.pid if link is not None and link.alive else None

    def submit(
        self, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
    ) -> Future[Outcome]:
        """Run the function `target` ("module:function") on `payload` and the folder `scratch`.

        With `limits.subject` it gets a third argument, the handle of its subject (`subject`).

        A future that is still queued can be cancelled; one that runs ends by its deadline.

        Raises:
            TypeError, ValueError: `payload` is not a JSON object, or is too large.
            RuntimeError: the host was closed.
        """
        job = Job(next(self._ids), target, str(scratch.absolute()), limits)
        encode_frame(job.to_json())
        ticket = _Ticket(job, pack_payload(payload), Future())
        ticket.future.add_done_callback(lambda _: os.close(ticket.payload))
        with self._lock:
            if not self._closing:
                self._queue.append(ticket)
                self._ring()
                return ticket.future
        ticket.future.cancel()
        raise RuntimeError("the sandbox was closed")

    def close(self) -> None:
        """End every job and process within two seconds; safe to call twice."""
        with self._lock:
            self._closing = True
        self._ring()
        self._thread.join(_CLOSE_S)

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens
            self._bell.send(b"!")

    # --- the supervisor thread ---------------------------------------------------------------

    def _supervise(self) -> None:
        reason = "the sandbox was closed"
        try:
            while not self._closing:
                self._step()
        except BaseException as error:
            reason = f"the sandbox's supervisor failed: {error!r}"
            raise
        finally:
            with self._lock:
                self._closing = True
            if self._link is not None:
                self._link.close()
            self._give_up(reason)

    def _step(self) -> None:
        """Have a template, give it work, hear what it says, and look after it."""
        link = self._link = self._link or self._start_template()
        if link is None:
            return
        self._dispatch(link)
        messages = link.exchange(self._wake, self._patience(link))
        for message in messages:
            if message["event"] == "ended":
                del message["event"]
                self._settle(Ended(**message), filtered=link.filtered)
        if not messages:
            self._guard(link)
        if not link.alive:
            self._recover(link)

    def _start_template(self) -> TemplateLink | None:
        try:
            return TemplateLink(self._preload, *self._levels)
        except OSError as error:
            self._count_failure(f"no process can be started: {error}")
            return None

    def _count_failure(self, reason: str) -> None:
        """Note that the template has failed to start.

        After too many such failures the jobs are given back, and the next job is waited for.
        """
        self._failures += 1
        if self._failures <= self._max_restarts:
            return
        self._failures = 0
        self._give_up(f"the sandbox cannot start: {reason}")
        while not self._closing and not self._queue:
            self._wake.recv(4096)

    def _dispatch(self, link: TemplateLink) -> None:
        while link.ready and (ticket := self._next()) is not None:
            if ticket.attempts == 0 and not ticket.future.set_running_or_notify_cancel():
                continue
            ticket.sent = time.monotonic()
            ticket.attempts += 1
            self._running[ticket.job.id] = ticket
            link.send(ticket.job.to_json(), ticket.payload)

    def _next(self) -> _Ticket | None:
        """Take the next ticket that may run now; one that is run again runs alone.

        One that waits for an accelerator is passed by those that need none.
        """
        alone = any(ticket.attempts > 1 for ticket in self._running.values())
        with self._lock:
            if not self._queue or alone or len(self._running) >= self.workers:
                return None
            if self._queue[0].attempts and self._running:
                return None
            for ticket in self._queue:
                if self._gets_devices(ticket):
                    self._queue.remove(ticket)
                    return ticket
        return None

    def _gets_devices(self, ticket: _Ticket) -> bool:
        """Give a ticket its share of the devices; False where it has to wait for one."""
        running = [(t.job.devices, t.job.limits.accelerator) for t in self._running.values()]
        share = self._devices.pick(running, accelerator=ticket.job.limits.accelerator)
        if share is not None:
            ticket.job = replace(ticket.job, devices=share)
        return share is not None

    def _patience(self, link: TemplateLink) -> float | None:
        """Return the seconds until the guard has something to look at."""
        ends = [self._guard_time(ticket) for ticket in self._running.values()]
        if not link.ready:
            ends.append(link.started + self._start_s)
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _guard_time(self, ticket: _Ticket) -> float:
        return ticket.sent + ticket.job.limits.wall_s + self._guard_s

    def _settle(self, ended: Ended, *, filtered: bool) -> None:
        ticket = self._running.pop(ended.job)
        self._failures = 0
        if ended.cause == "exit" and ended.signal == signal.SIGKILL and ticket.attempts == 1:
            with self._lock:
                self._queue.appendleft(ticket)
            return
        ticket.future.set_result(judge(ended, ticket.job.limits, filtered=filtered))

    def _guard(self, link: TemplateLink) -> None:
        """Kill a template that is hung; the jobs that are overdue have timed out."""
        now = time.monotonic()
        if not link.ready and now > link.started + self._start_s:
            link.kill(f"the template was not ready after {self._start_s:g} s")
        overdue = [t for t in self._running.values() if now > self._guard_time(t)]
        if not overdue:
            return
        link.kill("the template did not end a job at its deadline")
        for ticket in overdue:
            del self._running[ticket.job.id]
            reason = f"ran longer than {ticket.job.limits.wall_s:g} s, and its template hung"
            ticket.future.set_result(Outcome("timeout", None, reason))

    def _recover(self, link: TemplateLink) -> None:
        """Put the jobs of a dead template back in front, or give up on what cannot be helped."""
        self._link = None
        lost, self._running = list(self._running.values()), {}
        if not lost:
            self._count_failure(link.reason)
        again = [ticket for ticket in lost if ticket.attempts == 1]
        with self._lock:
            self._queue.extendleft(reversed(again))
        for ticket in lost:
            if ticket.attempts > 1:
                reason = (
                    f"its template died twice, the second time with this job alone\n{link.reason}"
                )
                outside = link.killed and link.filtered
                status: Status = "infrastructure" if outside else "crashed"
                ticket.future.set_result(Outcome(status, None, reason))

    def _give_up(self, reason: str) -> None:
        """Answer every job that waits or runs with `infrastructure`."""
        with self._lock:
            tickets = [*self._running.values(), *self._queue]
            self._queue.clear()
            self._running.clear()
        for ticket in tickets:
            if ticket.attempts or ticket.future.set_running_or_notify_cancel():
                ticket.future.set_result(Outcome("infrastructure", None, reason))
