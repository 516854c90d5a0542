"""What a forked job process does: isolate itself, run the job's function, answer, leave.

`isolate` is the one list of measures that hold before any code of a candidate runs; a further
measure is one more line there (and one in `status`).
"""

from __future__ import annotations

import errno
import faulthandler
import json
import math
import os
import random
import resource
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from genesys_engine.gab.sandbox import linux
from genesys_engine.gab.sandbox.environment import folders
from genesys_engine.gab.sandbox.protocol import MAX_REASON_CHARACTERS, MAX_REPLY_BYTES, Job, Limits

REPLY_FD = 3
OPEN_FILES = 512
STACK_SIGNAL = signal.SIGUSR1  # asks for the Python stack on stderr, shortly before the end


def run_child(job: Job, template: int, reply_fd: int, log_fd: int) -> NoReturn:
    """Run `job` in this freshly forked process and leave it; never returns, never raises."""
    try:
        isolate(job, template, reply_fd, log_fd)
        os.write(REPLY_FD, b"\n")  # the isolation holds: from here on a fault is the job's own
        _write_all(_answer(job))
        _flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        _flush()
    finally:
        os._exit(70)


def isolate(job: Job, template: int, reply_fd: int, log_fd: int) -> None:
    """Cut this process off from the template and the engine, in this order."""
    os.setsid()  # own session and group: the terminal's Ctrl-C misses it, killpg gets it whole
    linux.die_with_parent(template, signal.SIGKILL)
    _reset_signals()
    _keep_only(reply_fd, log_fd)
    os.chdir(job.scratch)
    os.environ.update(folders(job.scratch))
    _set_limits(job.limits)
    faulthandler.enable(file=2, all_threads=False)
    faulthandler.register(STACK_SIGNAL, file=2, all_threads=False, chain=False)
    _seed_generators()


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


def _set_limits(limits: Limits) -> None:
    cpu_s = math.ceil(limits.wall_s * (os.cpu_count() or 1)) + 1
    _lower(resource.RLIMIT_CORE, 0, 0)
    # At the soft limit comes SIGXCPU, which can be told apart; the hard one only kills.
    _lower(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
    if limits.memory_bytes > 0:
        mapped = _mapped_bytes() + limits.memory_bytes
        _lower(resource.RLIMIT_AS, mapped, mapped)


def _lower(which: int, soft: int, hard: int) -> None:
    """Set a limit, or leave it where it is lower already."""
    present = resource.getrlimit(which)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> int:
    """Return the size of this process's address space (0 where /proc cannot say)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _seed_generators() -> None:
    """Start the global generators alike in every job; Python reseeds its own at a fork."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def _answer(job: Job) -> bytes:
    try:
        value = _function(job.target)(dict(job.payload), Path(job.scratch))
    except BaseException as error:
        traceback.print_exc()
        status = "memory" if _is_memory_error(error) else "error"
        return _encode({"status": status, "reason": _describe(error)})
    if not isinstance(value, dict):
        kind = type(value).__name__
        return _encode({"status": "bad_reply", "reason": f"{job.target} returned a {kind}"})
    try:
        reply = _encode({"status": "ok", "value": value})
    except (TypeError, ValueError, RecursionError) as error:
        return _encode({"status": "bad_reply", "reason": f"not JSON: {_describe(error)}"})
    if len(reply) > MAX_REPLY_BYTES - 1:
        reason = f"a reply of {len(reply)} bytes exceeds {MAX_REPLY_BYTES}"
        return _encode({"status": "bad_reply", "reason": reason})
    return reply


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _is_memory_error(error: BaseException) -> bool:
    """Tell whether Python's, NumPy's or PyTorch's allocator (CPU or CUDA) refused."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in _describe(error))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


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
