"""Folders that appear whole or not at all, and that one process at a time works in."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from genesys_engine.plugins.disk import sync, write_whole

__all__ = ["held", "publish", "size_of", "sync", "write_whole"]


@contextlib.contextmanager
def held(folder: Path, waiting: Callable[[], None]) -> Iterator[bool]:
    """Make `folder` and hold it for this process; call `waiting` where another one has it.

    Yields False where the other one has moved it away meanwhile.  The kernel lets go of it when
    the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder.exists() and os.path.samestat(os.fstat(handle), folder.stat())
    finally:
        os.close(handle)


def publish(scratch: Path, folder: Path) -> None:
    """Rename the finished folder into place; where another process was faster, keep its one."""
    sync(scratch)
    try:
        scratch.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    sync(folder.parent)


def size_of(count: int) -> str:
    """Return a number of bytes in words: `812 B`, `340 kB`, `1.2 MB`, `18 MB` or `2.1 GB`."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit not in ("B", "kB") and size < 9.95 else f"{size:.0f} {unit}"
