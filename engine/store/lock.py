"""The lock of a run's or a study's folder: one process writes, any number read.

The system gives it back when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.gab.private import private_file

LOCK = "lock"
ATTEMPTS, PAUSE_S = 4, 0.05


def exclusive(folder: Path) -> Any:
    """Return the handle that holds the lock of `folder`.

    It is asked for more than once: who looks whether a folder is being written to holds it for a
    moment.

    Raises:
        EnvironmentProblem: another process has it.
        FileNotFoundError: there is no such folder, perhaps since a moment ago.
    """
    for attempt in range(ATTEMPTS):
        handle = private_file(folder / LOCK).open("a+")
        if _try(handle, fcntl.LOCK_EX) and _is_in_place(handle, folder):
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            return handle
        writer = _writer(handle)
        handle.close()
        time.sleep(PAUSE_S * (attempt + 1 < ATTEMPTS))
    raise EnvironmentProblem(
        f"another process is working in this folder{f' (process {writer})' if writer else ''}",
        where=str(folder),
        hint="wait for it, or stop it with Ctrl-C and resume it later",
    )


def _is_in_place(handle: Any, folder: Path) -> bool:
    """Tell whether an open lock is still that of `folder`: whoever held it may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def is_held(folder: Path) -> bool:
    """Return whether a process is writing to `folder`."""
    try:
        with (folder / LOCK).open() as handle:
            return not _try(handle, fcntl.LOCK_SH)
    except FileNotFoundError:  # a copy of a run
        return False


def _try(handle: Any, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _writer(handle: Any) -> str:
    """Return the process id that the writer left in the lock, for a person to find it."""
    handle.seek(0)
    text = handle.read(20)
    return text if text.isdigit() else ""
