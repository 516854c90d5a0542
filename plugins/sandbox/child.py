"""What a forked process does: isolate itself, run the job's function, answer, leave.

A job with a subject (`subject`) is two such processes: `run_subject` serves a candidate's code to
the one that `run_child` is.

`isolate` is the one list of measures that hold before any code of a candidate runs; a further
measure is one more line there (and one in `status`).
"""

from __future__ import annotations

import faulthandler
import fcntl
import json
import mmap
import os
import random
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from genesys_engine.gab.memory import is_memory_error
from genesys_engine.plugins.sandbox import landlock, linux, readable, seccomp, toolchain
from genesys_engine.plugins.sandbox.channel import Channel
from genesys_engine.plugins.sandbox.devices import VISIBLE
from genesys_engine.plugins.sandbox.environment import folders
from genesys_engine.plugins.sandbox.isolation import Isolation
from genesys_engine.plugins.sandbox.keeper import Keeper
from genesys_engine.plugins.sandbox.landlock import Rule
from genesys_engine.plugins.sandbox.protocol import (
    MAX_REASON_CHARACTERS,
    MAX_REPLY_BYTES,
    Job,
    Limits,
    processor_s,
    unpack_payload,
)
from genesys_engine.plugins.sandbox.subject import (
    BadAnswer,
    SubjectEnded,
    SubjectProcess,
    serve,
)

KEPT_FD = 3  # the first descriptor after the usual three
REPLY_FD = KEPT_FD
SUBJECT_GONE = 71  # exit code of a job that cannot continue without its first subject; then 72 ...
_FRAME_BYTES = 256  # what stands around the value of a reply
OPEN_FILES = 512
PROCESSES = 1024  # threads of all jobs together; the kernel counts none of root's
STACK_SIGNAL = signal.SIGUSR1  # asks for the Python stack on stderr, shortly before the end


@dataclass(frozen=True)
class Confinement:
    """What holds for all jobs of a template: the kernel's measures, files for all, the keeper."""

    isolation: Isolation
    rules: tuple[Rule, ...]
    keeper: Keeper


@dataclass(frozen=True)
class Line:
    """One end of what joins a judge and a subject, as both inherit it from their template."""

    socket: int
    shared: mmap.mmap


@dataclass(frozen=True)
class Ends:
    """What a forked process is given by its template: its id, descriptors, and lines."""

    template: int
    log: int
    reply: int = -1
    payload: int = -1
    lines: tuple[Line, ...] = ()

    @property
    def kept(self) -> list[int]:
        """The descriptors that it keeps, in the order in which they then stand."""
        sockets = [line.socket for line in self.lines]
        return [self.reply, *sockets] if self.reply >= 0 else sockets

    def channels(self, limits: Limits) -> list[Channel]:
        """Return its channels, once it has kept what it keeps."""
        first = KEPT_FD + len(self.kept) - len(self.lines)
        return [
            Channel(socket.socket(fileno=fd), line.shared, limits.memory_bytes)
            for fd, line in enumerate(self.lines, start=first)
        ]


def run_child(job: Job, seal: str, confinement: Confinement, ends: Ends) -> NoReturn:
    """Run `job` in this freshly forked process and leave it; never returns, never raises."""
    try:
        payload = unpack_payload(ends.payload)
        own = job
        if job.limits.subject:  # what is compiled is the candidate's, and compiled there
            own = replace(job, limits=replace(job.limits, compiles=False))
        isolate(own, confinement, ends)
        channels = ends.channels(job.limits)
        subjects = [SubjectProcess(channel, n) for n, channel in enumerate(channels)]
        for subject in subjects:
            subject.await_start()
        os.write(REPLY_FD, b"\n")  # the isolation holds: from here on a fault is the job's own
        _write_all(_encode(_answer(job, payload, subjects) | {"seal": seal}))
        _flush()
        os._exit(0)
    except SubjectEnded as ended:
        _flush()
        os._exit(SUBJECT_GONE + ended.number)
    except BaseException:
        traceback.print_exc()
        _flush()
    finally:
        os._exit(70)


def run_subject(job: Job, scratch: Path, confinement: Confinement, ends: Ends) -> NoReturn:
    """Serve a subject of `job` in this freshly forked process; never returns, never raises."""
    code = 70
    try:
        limits = replace(job.limits, readable=job.limits.subject_readable)
        isolate(replace(job, scratch=str(scratch), limits=limits), confinement, ends)
        (channel,) = ends.channels(limits)
        serve(job.limits.subject, scratch, channel)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def isolate(job: Job, confinement: Confinement, ends: Ends) -> None:
    """Cut this process off from the template and the engine, in this order.

    The namespaces are the template's, entered before it imported anything.

    Raises:
        OSError: a measure that this machine offers could not be taken; the job then never runs.
    """
    os.setsid()  # own session and group: the terminal's Ctrl-C misses it, killpg gets it whole
    linux.die_with_parent(ends.template, signal.SIGKILL)
    confinement.keeper.watch(os.getpid())  # while its pipe is open: the template's files go next
    _reset_signals()
    _keep_only(ends.log, ends.kept)
    os.chdir(job.scratch)
    os.environ.update(folders(job.scratch))
    if job.devices:
        os.environ[VISIBLE] = job.devices
    if job.limits.compiles:
        toolchain.prepare(job.scratch)
    _set_limits(job.limits, confinement.isolation)
    faulthandler.enable(file=2, all_threads=False)
    faulthandler.register(STACK_SIGNAL, file=2, all_threads=False, chain=False)
    _seed_generators()
    _confine(job, confinement)


def _confine(job: Job, confinement: Confinement) -> None:
    """Have the kernel hold the rest, for good: rights, then files, then system calls."""
    linux.drop_capabilities()
    linux.readable_by_others(True)  # not so the template; the job must see its own /proc entry
    if confinement.isolation.landlock:
        landlock.confine([*confinement.rules, *readable.of_job(job)])
    if confinement.isolation.seccomp:
        limits = job.limits
        seccomp.confine(compiles=limits.compiles, accelerator=limits.accelerator)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _keep_only(log_fd: int, kept: Sequence[int]) -> None:
    """Leave open: nothing to read, the log as output, and from `KEPT_FD` on what is `kept`."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    # First out of the way: one may lie where another is to be.
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, KEPT_FD + len(kept)) for fd in kept]
    for place, fd in enumerate(moved, start=KEPT_FD):
        os.dup2(fd, place, inheritable=False)
    os.closerange(KEPT_FD + len(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _set_limits(limits: Limits, isolation: Isolation) -> None:
    cpu_s = processor_s(limits)
    _lower(resource.RLIMIT_CORE, 0, 0)
    # At the soft limit comes SIGXCPU, which can be distinguished; the hard one only kills.
    _lower(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
    if hasattr(resource, "RLIMIT_MSGQUEUE"):
        _lower(resource.RLIMIT_MSGQUEUE, 0, 0)
    if isolation.namespaces:  # elsewhere all other processes of the user would count
        _lower(resource.RLIMIT_NPROC, PROCESSES, PROCESSES)
    if limits.memory_bytes > 0:
        mapped, data = _mapped_bytes()
        if limits.accelerator:
            most = data + limits.memory_bytes
            _lower(resource.RLIMIT_DATA, most, most)
        else:
            most = mapped + limits.memory_bytes
            _lower(resource.RLIMIT_AS, most, most)


def _lower(which: int, soft: int, hard: int) -> None:
    """Set a limit, or leave it where it is lower already."""
    present = resource.getrlimit(which)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> tuple[int, int]:
    """Return the size of the address space, and of the private data in it (0: unknown)."""
    try:
        pages = [int(field) for field in Path("/proc/self/statm").read_text().split()]
    except OSError:
        return 0, 0
    return pages[0] * resource.getpagesize(), pages[5] * resource.getpagesize()


def _seed_generators() -> None:
    """Start the global generators alike in every job; Python reseeds its own at a fork."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def _answer(
    job: Job, payload: dict[str, Any], subjects: Sequence[SubjectProcess]
) -> dict[str, Any]:
    try:
        value = _function(job.target)(payload, Path(job.scratch), *subjects)
    except SubjectEnded:
        raise
    except BadAnswer as error:
        return {"status": "bad_reply", "reason": _describe(error)}
    except BaseException as error:
        traceback.print_exc()
        status = "memory" if is_memory_error(error) else "error"
        return {"status": status, "reason": _describe(error)}
    if not isinstance(value, dict):
        kind = type(value).__name__
        return {"status": "bad_reply", "reason": f"{job.target} returned a {kind}"}
    try:
        size = len(_encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        return {"status": "bad_reply", "reason": f"not JSON: {_describe(error)}"}
    if size > MAX_REPLY_BYTES - _FRAME_BYTES:
        reason = f"a reply of {size} bytes exceeds {MAX_REPLY_BYTES}"
        return {"status": "bad_reply", "reason": reason}
    return {"status": "ok", "value": value}


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _describe(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # a candidate's exception may fail at this too
        text = "(no message)"
    return f"{type(error).__name__}: {text}"[:MAX_REASON_CHARACTERS]


def _encode(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, allow_nan=False).encode()


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(REPLY_FD, view) :]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the candidate may have replaced or closed it
            continue
