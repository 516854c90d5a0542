"""A second copy of a run's database, made while the run goes and when it ends.

SQLite copies its pages under a read lock: the copy is one moment of the run, whole in itself.  It
is checked before it takes the place of the one before, so that damage is not copied over what is
sound.  A copy takes milliseconds; the pause to the next one grows with what the last one took.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from genesys_engine.gab.private import private_file

BACKUP = "run.sqlite.backup"
EVERY_S = 120.0
SHARE = 100  # a copy may take the hundredth part of the time between two


class Backup:
    """The backup of the run in `folder`, whose database is `db`; one process writes."""

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._file = folder / BACKUP
        self._next = time.monotonic() + EVERY_S
        self._changes = -1

    def make_if_due(self) -> None:
        """Make one where the last is old enough; call it outside a transaction."""
        if time.monotonic() >= self._next:
            self.make()

    def make(self) -> None:
        """Make one now, unless nothing was written since the last.

        A backup that cannot be made (a full disk) leaves the last one and ends no run.
        """
        if self._db.total_changes == self._changes and self._file.exists():
            return
        started = time.monotonic()
        with contextlib.suppress(OSError, sqlite3.Error):
            copy_database(self._db, self._file)
            self._changes = self._db.total_changes
        took = time.monotonic() - started
        self._next = time.monotonic() + max(EVERY_S, SHARE * took)


def copy_database(db: sqlite3.Connection, file: Path) -> None:
    """Copy a database into one plain file, which takes its name once it is found sound.

    Raises:
        sqlite3.Error: it cannot be read or is damaged.
        OSError: the file cannot be written.
    """
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(private_file(partial))) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
