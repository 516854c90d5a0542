"""One forked job, seen from the template: its pipes, its deadline, its process groups."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genesys_engine.plugins.sandbox import toolchain, usage
from genesys_engine.plugins.sandbox.channel import shared_memory
from genesys_engine.plugins.sandbox.child import (
    STACK_SIGNAL,
    SUBJECT_GONE,
    Confinement,
    Ends,
    Line,
    run_child,
    run_subject,
)
from genesys_engine.plugins.sandbox.output import OutputPipe
from genesys_engine.plugins.sandbox.protocol import MAX_REPLY_BYTES, Cause, Ended, Job
from genesys_engine.plugins.sandbox.scratch import remove
from genesys_engine.plugins.sandbox.starting import retried
from genesys_engine.plugins.sandbox.subject import SUBJECT_FOLDER

_CHUNK = 1 << 20
# Between the request for the Python stack and the kill at a deadline.
_STACK_S = 0.1
# Between the end of a judge that has lost its subject and the subject's own.
_LEAVE_S = 2.0
# Between two looks at what a job has put on the disk.
LOOK_S = 0.25
_MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class RunningJob:
    """A job in processes of its own; made in the template, which is the only one to fork."""

    def __init__(self, job: Job, payload_fd: int, confinement: Confinement) -> None:
        """Fork the child, and its subjects if it has any.

        Raises:
            OSError: no scratch folder, no process or no pipe could be made.
        """
        self.job = job
        self._seal = secrets.token_hex(16)
        self._confinement = confinement
        self._cause: Cause = "exit"
        self._excess = ""
        self._reply = bytearray()
        self._subjects: list[int] = []  # processes
        self._ended: dict[int, _Ended] = {}  # by process, in the order of their ends
        self._lost = 0  # the subject that the judge has lost, and left for that
        scratch = Path(job.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        self._output = OutputPipe(scratch)
        self._reply_fd, reply_write_fd = os.pipe()
        try:
            self._started = time.monotonic()
            self.deadline = self._started + job.limits.wall_s
            self._look = self._started + LOOK_S
            self._fork(Ends(os.getpid(), self._output.write_fd, reply_write_fd, payload_fd))
        except OSError:
            os.close(self._reply_fd)
            self._output.finish()
            raise
        finally:
            os.close(reply_write_fd)
            os.close(self._output.write_fd)
        os.set_blocking(self._reply_fd, False)
        self.readers = {self._reply_fd: self._read_reply, self._output.read_fd: self._output.read}

    def _fork(self, ends: Ends) -> None:
        """Fork what the job consists of: the subjects first, which get neither reply nor payload.

        Nothing of one subject is in the other: each has a line and a folder of its own.
        """
        if self.job.limits.compiles:
            toolchain.programs()  # asked once, here: every child knows it then
        sys.stdout.flush()  # else the child would write it once more
        sys.stderr.flush()
        count = self.job.limits.subjects if self.job.limits.subject else 0
        with contextlib.ExitStack() as held:
            lines = []
            for number in range(count):
                own, its = (held.enter_context(each) for each in socket.socketpair())
                shared = held.enter_context(shared_memory())
                lines.append(Line(own.fileno(), shared))
                narrow = Ends(ends.template, ends.log, lines=(Line(its.fileno(), shared),))
                self._subjects.append(self._fork_subject(number, narrow, lines[:-1]))
            try:
                self.pid = retried(os.fork)
            except OSError:
                for pid in self._subjects:
                    send_signal(pid, signal.SIGKILL)
                raise
            if self.pid == 0:
                ends = replace(ends, lines=tuple(lines))
                run_child(self.job, self._seal, self._confinement, ends)

    def _fork_subject(self, number: int, ends: Ends, others: Sequence[Line]) -> int:
        """Fork a subject; what the judge shares with the `others` is not in its memory."""
        name = SUBJECT_FOLDER if number == 0 else f"{SUBJECT_FOLDER}{number + 1}"
        folder = Path(self.job.scratch, name)
        remove(folder)  # an earlier attempt may have laid anything there
        folder.unlink(missing_ok=True)
        folder.mkdir(0o700)
        pid = retried(os.fork)
        if pid == 0:
            for line in others:
                line.shared.close()
            run_subject(self.job, folder, self._confinement, ends)
        return pid

    @property
    def processes(self) -> tuple[int, ...]:
        """The processes that were not waited for yet, the judge first."""
        return tuple(pid for pid in (self.pid, *self._subjects) if pid not in self._ended)

    def _read_reply(self) -> int | None:
        """Take more of the reply (see `OutputPipe.read`); one too large ends the job."""
        try:
            data = os.read(self._reply_fd, _CHUNK)
        except BlockingIOError:
            return None
        self._reply += data
        if len(self._reply) > MAX_REPLY_BYTES:
            self._reply.clear()
            if self._cause == "exit":
                self._cause = "reply too large"
            self.kill()
        return len(data)

    @property
    def due(self) -> float:
        """When `enforce` has something to do."""
        return min(self.deadline, self._look)

    def enforce(self, now: float) -> None:
        """Look at the disk, and at the clock.

        Past the deadline: ask for the Python stack on the log, then kill the group.
        """
        if now >= self._look:
            self._watch_disk()
            self._watch_processes()
            self._look = time.monotonic() + LOOK_S
        if now < self.deadline:
            return
        if self._cause == "exit" and self.pid in self._ended:
            self._cause = "subject left"
        if self._cause == "exit":
            self._cause = "deadline"
            for pid in self.processes[1:] or self.processes:
                send_signal(pid, STACK_SIGNAL)
        else:
            self.kill()
        self.deadline = now + _STACK_S

    def _watch_disk(self) -> None:
        limits = self.job.limits
        self._end_for("disk", usage.excess(self.job.scratch, self.processes, limits.disk_bytes))

    def _watch_processes(self) -> None:
        """Count what a job that compiles has started; another one cannot start anything."""
        if not self.job.limits.compiles:
            return
        limits = self.job.limits
        for group in self._subjects or [self.pid]:
            crowd = usage.crowd(group, limits.memory_bytes, limits.disk_bytes)
            self._end_for("processes", crowd)

    def _end_for(self, cause: Cause, excess: str) -> None:
        """Kill the job for what it has too much of, if anything; the first cause is reported."""
        if excess and self._cause == "exit":
            self._cause, self._excess = cause, excess
            self.kill()

    def kill(self) -> None:
        """Kill all processes and their whole groups (which may not be founded yet)."""
        for pid in self.processes:
            kill_group(pid)

    def exited(self, pid: int) -> None:
        """Take note of a process that has ended and is still to be waited for.

        Its group goes with it, now: until the wait its id means no other.  The subjects of a judge
        that is done are killed; one that its judge has lost gets a moment to end by itself, since
        how it does is how the job ends.
        """
        kill_group(pid)
        if pid != self.pid and self.pid not in self._ended:
            return  # its judge will see
        if pid == self.pid:
            self._lost = self._lost_by(_code_of_zombie(pid))
            self.deadline = min(self.deadline, time.monotonic() + _LEAVE_S)
        for other in self.processes:
            if other not in (pid, self._lost):
                kill_group(other)

    def _lost_by(self, code: int | None) -> int:
        """Return the subject that a judge has lost, by its exit code; 0 for none."""
        number = -1 if code is None else code - SUBJECT_GONE
        return self._subjects[number] if 0 <= number < len(self._subjects) else 0

    def waited(self, pid: int, status: int, used: resource.struct_rusage) -> bool:
        """Take note of how a process ended; tell whether it was the last one."""
        self._ended[pid] = _Ended(os.waitstatus_to_exitcode(status), used)
        return not self.processes

    def finish(self) -> Ended:
        """Read the rest of the pipes of a job that has ended, and close them."""
        while self._read_reply():
            pass
        os.close(self._reply_fd)
        code = self._ended[self._lost or self.pid].code
        try:
            reply = self._reply.decode() if self._cause == "exit" else ""
        except UnicodeDecodeError:
            reply = None
        return Ended(
            job=self.job.id,
            cause=self._cause,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            reply=reply,
            log=f"{self._output.finish()}\n{self._excess}",
            seal=self._seal,
            facts=self._facts(),
        )

    def _facts(self) -> dict[str, float]:
        """Return what the job used: the time of all processes, and the memory of the largest."""
        used = [ended.used for ended in self._ended.values()]
        return {
            "wall_s": time.monotonic() - self._started,
            "cpu_s": sum(each.ru_utime + each.ru_stime for each in used),
            "max_rss_bytes": max(each.ru_maxrss for each in used) * _MAX_RSS_UNIT,
        }


@dataclass(frozen=True)
class _Ended:
    """How a process ended (minus the signal, or its exit code), and what it had used."""

    code: int
    used: resource.struct_rusage


def _code_of_zombie(pid: int) -> int | None:
    """Return the exit code of a process that has ended and was not waited for; None: a signal."""
    left = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return left.si_status if left is not None and left.si_code == os.CLD_EXITED else None


def kill_group(pid: int) -> None:
    """Kill a process and the group that it has founded, if it has."""
    send_signal(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
