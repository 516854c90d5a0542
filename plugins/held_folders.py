"""Folders that a process holds while it works, under the system's temporary one or elsewhere.

Whoever is killed leaves its folder behind; the next one removes those that no process holds.
"""

from __future__ import annotations

import fcntl
import glob
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from genesys_engine.plugins.sandbox.scratch import remove


def hold(prefix: str, purpose: str = "", parent: Path | None = None) -> tuple[Path, int]:
    """Make an empty folder for this process alone, after those with this prefix that nobody holds
    are gone; in the system's folder for temporary ones, unless a `parent` is given.

    Returns the folder, and the handle that holds it until it is closed.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _sweep(parent, prefix)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{purpose}", dir=parent))  # 0700
        with suppress(FileNotFoundError):  # swept away in between
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the folders of ours that nobody holds."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
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
