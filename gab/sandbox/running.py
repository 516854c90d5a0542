"""One forked job, seen from the template: its pipes, its deadline, its process group."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import sys
import time
from pathlib import Path

from genesys_engine.gab.sandbox import toolchain, usage
from genesys_engine.gab.sandbox.child import STACK_SIGNAL, Confinement, run_child
from genesys_engine.gab.sandbox.output import OutputPipe
from genesys_engine.gab.sandbox.protocol import MAX_REPLY_BYTES, Cause, Ended, Job

_CHUNK = 1 << 20
# Between the request for the Python stack and the kill at a deadline.
_STACK_S = 0.1
# Between two looks at what a job has put on the disk.
LOOK_S = 0.25
_MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class RunningJob:
    """A job in a process of its own; made in the template, which is the only one to fork."""

    def __init__(self, job: Job, confinement: Confinement) -> None:
        """Fork the child.

        Raises:
            OSError: no scratch folder, no process or no pipe could be made.
        """
        self.job = job
        self._seal = secrets.token_hex(16)
        self._confinement = confinement
        self._cause: Cause = "exit"
        self._excess = ""
        self._reply = bytearray()
        scratch = Path(job.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        self._output = OutputPipe(scratch)
        self._reply_fd, reply_write_fd = os.pipe()
        try:
            self._started = time.monotonic()
            self.deadline = self._started + job.limits.wall_s
            self._look = self._started + LOOK_S
            self.pid = self._fork(reply_write_fd)
        except OSError:
            os.close(self._reply_fd)
            self._output.finish()
            raise
        finally:
            os.close(reply_write_fd)
            os.close(self._output.write_fd)
        os.set_blocking(self._reply_fd, False)
        self.readers = {self._reply_fd: self._read_reply, self._output.read_fd: self._output.read}

    def _fork(self, reply_write_fd: int) -> int:
        template = os.getpid()
        if self.job.limits.compiles:
            toolchain.programs()  # asked once, here: every child knows it then
        sys.stdout.flush()  # else the child would write it once more
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            child = (self.job, self._seal, self._confinement, template)
            run_child(*child, reply_write_fd, self._output.write_fd)
        return pid

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
        if self._cause == "exit":
            self._cause = "deadline"
            send_signal(self.pid, STACK_SIGNAL)
        else:
            self.kill()
        self.deadline = now + _STACK_S

    def _watch_disk(self) -> None:
        limits = self.job.limits
        self._end_for("disk", usage.excess(self.job.scratch, self.pid, limits.disk_bytes))

    def _watch_processes(self) -> None:
        """Count what a job that compiles has started; another one cannot start anything."""
        if not self.job.limits.compiles:
            return
        limits = self.job.limits
        crowd = usage.crowd(self.pid, limits.memory_bytes, limits.disk_bytes)
        self._end_for("processes", crowd)

    def _end_for(self, cause: Cause, excess: str) -> None:
        """Kill the job for what it has too much of, if anything; the first cause is told."""
        if excess and self._cause == "exit":
            self._cause, self._excess = cause, excess
            self.kill()

    def kill(self) -> None:
        """Kill the child and its whole group (which it may not have founded yet)."""
        send_signal(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def finish(self, status: int, usage: resource.struct_rusage) -> Ended:
        """Read the rest of the pipes of a child that was waited for, and close them."""
        while self._read_reply():
            pass
        os.close(self._reply_fd)
        code = os.waitstatus_to_exitcode(status)
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
            facts={
                "wall_s": time.monotonic() - self._started,
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "max_rss_bytes": usage.ru_maxrss * _MAX_RSS_UNIT,
            },
        )


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
