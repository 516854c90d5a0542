"""Temporary folders of commands: removed at their end, or by the next command after a kill."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genesys_engine.plugins.sandbox.scratch import remove

_PREFIX = "genesys-scratch-"


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder for this process alone, and remove it with all that is in it.

    End whoever writes there before: jobs too.  Folders that a killed process left, which no process
    has locked, are removed first.
    """
    _sweep(Path(tempfile.gettempdir()))
    folder, lock = _locked(purpose)
    try:
        yield folder
    finally:
        remove(folder)
        os.close(lock)


def _locked(purpose: str) -> tuple[Path, int]:
    """Make a folder and lock it; another one where it was swept away in between."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))  # 0700
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of ours that nobody holds."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, or held
            facts = folder.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder)
            finally:
                os.close(lock)
