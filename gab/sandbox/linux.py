"""The three kernel calls about parents and children that Python does not offer.

On a system without them each function returns False and the engine goes on with what is left
(`sandbox_status` says so).
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHILDREN = Path("/proc/thread-self/children")


def _prctl(option: int, argument: int) -> bool:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(option, argument, 0, 0, 0) == 0)
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
