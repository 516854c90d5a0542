"""Files and folders for their owner alone: prompts, replies, data and results of a run.

The modes are set and not left to the umask of the shell, which is another everywhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
_OTHERS = 0o077


def private_folder(folder: Path) -> bool:
    """Make a folder, unless it exists, and close it to others; those above it get the usual mode.

    Returns whether it was made here; of several processes that make it, one gets True.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=FOLDER)
        made = True
    except FileExistsError:
        if not folder.is_dir():
            raise
        made = False
    _close(folder)
    return made


def private_file(path: Path) -> Path:
    """Make an empty file, unless there is one, and close it to others; return `path`.

    What SQLite keeps next to a database gets the mode of the database.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, FILE))
    _close(path)
    return path


@contextmanager
def private_umask() -> Iterator[None]:
    """Make everything that this process and its children create from now on private."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def close_to_others(folder: Path) -> None:
    """Close a folder and the files in it, as an earlier version or another program left them."""
    _close(folder)
    for entry in folder.iterdir():
        _close(entry)


def _close(path: Path) -> None:
    """Take from others what they may do; what is not ours, or a link, stays as it is."""
    with suppress(OSError):  # gone meanwhile, or a file system without modes
        facts = path.lstat()
        ours = facts.st_uid == os.geteuid() and not stat.S_ISLNK(facts.st_mode)
        if ours and facts.st_mode & _OTHERS:
            path.chmod(stat.S_IMODE(facts.st_mode) & ~_OTHERS)
