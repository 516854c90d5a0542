"""What a forked job process does: isolate itself, run the job's function, answer, leave.

`isolate` is the one list of measures that hold before any code of a candidate runs; a further
measure is one more line there (and one in `status`).
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import random
import resource
import signal
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from genesys_engine.gab.memory import is_memory_error
from genesys_engine.gab.sandbox import landlock, linux, readable, seccomp, toolchain
from genesys_engine.gab.sandbox.devices import VISIBLE
from genesys_engine.gab.sandbox.environment import folders
from genesys_engine.gab.sandbox.isolation import Isolation
from genesys_engine.gab.sandbox.keeper import Keeper
from genesys_engine.gab.sandbox.landlock import Rule
from genesys_engine.gab.sandbox.protocol import MAX_REASON_CHARACTERS, MAX_REPLY_BYTES, Job, Limits

REPLY_FD = 3
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


def run_child(
    job: Job, seal: str, confinement: Confinement, template: int, reply_fd: int, log_fd: int
) -> NoReturn:
    """Run `job` in this freshly forked process and leave it; never returns, never raises."""
    try:
        isolate(job, confinement, template, reply_fd, log_fd)
        os.write(REPLY_FD, b"\n")  # the isolation holds: from here on a fault is the job's own
        _write_all(_encode(_answer(job) | {"seal": seal}))
        _flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        _flush()
    finally:
        os._exit(70)


def isolate(job: Job, confinement: Confinement, template: int, reply_fd: int, log_fd: int) -> None:
    """Cut this process off from the template and the engine, in this order.

    The namespaces are the template's, entered before it imported anything.

    Raises:
        OSError: a measure that this machine offers could not be taken; the job then never runs.
    """
    os.setsid()  # own session and group: the terminal's Ctrl-C misses it, killpg gets it whole
    linux.die_with_parent(template, signal.SIGKILL)
    confinement.keeper.watch(os.getpid())  # while its pipe is open: the template's files go next
    _reset_signals()
    _keep_only(reply_fd, log_fd)
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


def _keep_only(reply_fd: int, log_fd: int) -> None:
    """Leave open: nothing to read, the log as output, and the pipe for the reply."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.dup2(reply_fd, REPLY_FD, inheritable=False)
    os.closerange(REPLY_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _set_limits(limits: Limits, isolation: Isolation) -> None:
    cpu_s = math.ceil(limits.wall_s * (os.cpu_count() or 1)) + 1
    _lower(resource.RLIMIT_CORE, 0, 0)
    # At the soft limit comes SIGXCPU, which can be told apart; the hard one only kills.
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


def _answer(job: Job) -> dict[str, Any]:
    try:
        value = _function(job.target)(dict(job.payload), Path(job.scratch))
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
