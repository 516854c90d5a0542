"""The kernel calls about processes that Python does not offer, through libc.

On a system without them each question is answered with False or -1 and the engine continues
what is left (`sandbox_status` says so).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from functools import cache
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CHILDREN = Path("/proc/thread-self/children")


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: Any) -> int:
    """Make a system call by its number; -1 where it fails or there is no such thing."""
    try:
        words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
        return int(_libc().syscall(ctypes.c_long(number), *words))
    except (OSError, AttributeError):
        return -1


def buffer(data: bytes) -> Any:
    """Return `data` in memory that a system call may be pointed to."""
    return ctypes.create_string_buffer(data, len(data))


def require(result: int, what: str) -> int:
    """Return the result of a call.

    Raises:
        OSError: it was negative; the message names `what`.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, argument: int) -> bool:
    try:
        return bool(_libc().prctl(option, argument, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def die_with_parent(parent: int, number: signal.Signals) -> bool:
    """Have the kernel send us `number` when the thread that started us is gone.

    A parent that was gone already is noticed by its id: then we leave at once.
    """
    active = _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        os._exit(1)
    return active


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant whose own parent has gone."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def child_pids() -> list[int]:
    """Return the ids of this (single-threaded) process's children; [] where /proc cannot say."""
    try:
        return [int(pid) for pid in _CHILDREN.read_text().split()]
    except OSError:
        return []


def unshare(flags: int) -> bool:
    """Leave the namespaces that `flags` name for new ones."""
    try:
        return bool(_libc().unshare(flags) == 0)
    except (OSError, AttributeError):
        return False


def readable_by_others(active: bool) -> bool:
    """Say whether processes of the same user may look into this one (/proc/PID/mem, environ)."""
    return _prctl(_PR_SET_DUMPABLE, int(active))


def no_new_privileges() -> None:
    """Make sure that nothing started from here gains rights; Landlock and seccomp ask for it."""
    require(0 if _prctl(_PR_SET_NO_NEW_PRIVS, 1) else -1, "no_new_privs")


def drop_capabilities() -> None:
    """Give up every right of root that this process has; a no-op for others."""
    header, nothing = buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0)), buffer(bytes(24))
    try:
        require(int(_libc().capset(header, nothing)), "capset")
    except AttributeError:  # no such call on this system
        return
