"""The warm template process: imports once, then forks one isolated child per job.

It is a single thread around one `select` loop and never computes with torch itself, so that a
fork is sound.  It watches every deadline, kills whole process groups and every descendant
that left its group, and passes on what it saw; it judges nothing.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import GenesysError
from genesys_engine.plugins.sandbox import linux, readable
from genesys_engine.plugins.sandbox.child import Confinement
from genesys_engine.plugins.sandbox.isolation import Isolation, Level, enter
from genesys_engine.plugins.sandbox.keeper import Keeper
from genesys_engine.plugins.sandbox.protocol import Ended, FrameReader, Job, encode_frame
from genesys_engine.plugins.sandbox.running import RunningJob, send_signal

# So long the last descendants are waited for at the end.
_END_S = 1.0


def main(channel: int, parent: int, preload: Sequence[str], require: Level, at_most: Level) -> None:
    """Serve jobs that come over the socket `channel` until its other end closes.

    No job runs if `require` is not reached; no measure beyond `at_most` is used.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keeper = Keeper.start()
    isolation = enter(at_most)  # while there is one thread, and before anything is imported
    linux.die_with_parent(parent, signal.SIGTERM)
    engine = socket.socket(fileno=channel)
    engine.set_inheritable(False)
    try:
        isolation.demand(require)
        _preload(preload)
    except GenesysError as error:
        engine.sendall(encode_frame({"event": "failed", "reason": str(error)}))
        sys.exit(1)
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"[:2000]
        engine.sendall(encode_frame({"event": "failed", "reason": reason}))
        sys.exit(1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Template(engine, isolation, keeper).serve()
    # Nothing is left to close, and taking PyTorch down object by object takes long.
    sys.stderr.flush()
    os._exit(0)


def _preload(modules: Sequence[str]) -> None:
    gc.disable()  # imports make little garbage, and collections take a tenth of their time
    for name in modules:
        importlib.import_module(name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # a collection in a child would otherwise copy every page
    gc.enable()


class Template:
    """Forks a child per job and tells the engine when each has started and ended."""

    def __init__(self, engine: socket.socket, isolation: Isolation, keeper: Keeper) -> None:
        self._engine = engine
        self._confinement = Confinement(isolation, readable.installation(), keeper)
        self._frames = FrameReader()
        self._payloads: deque[int] = deque()  # files of the jobs whose frames are still to come
        self._jobs: dict[int, RunningJob] = {}  # by process id; a job may have several
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Work until the engine closes its end; then nothing that was started survives."""
        linux.adopt_orphans()
        self._watch_children()
        self._watch(self._engine.fileno(), self._read_engine)
        linux.readable_by_others(False)  # its memory holds what other jobs were asked
        ready = {"threads": _thread_count(), "isolation": self._confinement.isolation.to_json()}
        self._send({"event": "ready", **ready})
        try:
            while self._engine.fileno() in self._selector.get_map():
                for key, _ in self._selector.select(self._patience()):
                    if key.data() == 0:
                        self._selector.unregister(key.fd)
                self._reap()
                for job in set(self._jobs.values()):
                    job.enforce(time.monotonic())
        finally:
            self._kill_all()

    def _watch(self, fd: int, read: Callable[[], int | None]) -> None:
        """Call `read` whenever `fd` has something, until it returns 0 (the end)."""
        self._selector.register(fd, selectors.EVENT_READ, read)

    def _watch_children(self) -> None:
        """Have the end of any child wake the loop."""
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._watch(read_fd, lambda: len(os.read(read_fd, 4096)))

    def _patience(self) -> float | None:
        """Return the seconds to the next deadline, or look at the disk."""
        if not self._jobs:
            return None
        return max(0.0, min(job.due for job in self._jobs.values()) - time.monotonic())

    def _send(self, message: Mapping[str, Any]) -> None:
        self._engine.sendall(encode_frame(message))

    def _read_engine(self) -> int:
        data, payloads, *_ = socket.recv_fds(self._engine, 1 << 20, 1)
        self._payloads += payloads
        for message in self._frames.feed(data):
            self._start(Job.from_json(message), self._payloads.popleft())
        return len(data)

    def _start(self, job: Job, payload_fd: int) -> None:
        try:
            running = RunningJob(job, payload_fd, self._confinement)
        except OSError as error:
            self._report(Ended(job.id, "never started", log=str(error)))
            return
        finally:
            os.close(payload_fd)
        self._jobs |= dict.fromkeys(running.processes, running)
        for fd, read in running.readers.items():
            self._watch(fd, read)
        self._send({"event": "started", "job": job.id, "pids": running.processes})

    def _report(self, ended: Ended) -> None:
        self._send({"event": "ended", **asdict(ended)})

    def _reap(self) -> None:
        """Take note of every process that has ended, and kill what it left behind."""
        while (pid := _exited_child()) is not None:
            job = self._jobs.pop(pid, None)
            if job is not None:
                job.exited(pid)
            self._confinement.keeper.release(pid)
            _, status, usage = os.wait4(pid, 0)
            self._kill_orphans()
            if job is not None and job.waited(pid, status, usage):
                for fd in job.readers:
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(fd)
                self._report(job.finish())

    def _kill_orphans(self) -> None:
        """Kill descendants that came to us because their parent ended: no job keeps those."""
        for pid in linux.child_pids():
            if pid not in self._jobs:
                send_signal(pid, signal.SIGKILL)

    def _kill_all(self) -> None:
        """Kill every job and, as they come to us, their descendants."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for job in self._jobs.values():
            job.kill()
        self._jobs.clear()
        end = time.monotonic() + _END_S
        while time.monotonic() < end:
            self._kill_orphans()
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                time.sleep(0.005)


def _exited_child() -> int | None:
    """Return the id of a child that has ended and was not waited for yet."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended.si_pid if ended else None


def _thread_count() -> int:
    """Return how many threads this process has (0 where /proc cannot say); a fork wants one."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return 0
