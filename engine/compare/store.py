"""The store of a study: a folder with one SQLite file, and the runs of an evolution study.

One process writes.  The result of an arm on an item (a proposal, a seed) is one row, committed
with the disk synced when it is there; what has a row is never done again.  The record of
the language models' replies lies in the same file (`engine.llm.ledger`), so that an item that
was cut short is started again with the replies that were paid for.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.store.lock import exclusive
from genesys_engine.engine.store.run_store import EXPERIMENT
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import close_to_others, private_file, private_folder

FORMAT = 1
DATABASE = "study.sqlite"
RUNS = "runs"
"""Folder of the runs of an evolution study, in its own."""
FOLDER = "folder"
"""Key of the metadata: where the file that the study was started with lies."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE results (
  item TEXT NOT NULL, arm TEXT NOT NULL, payload TEXT NOT NULL, seconds REAL NOT NULL,
  at REAL NOT NULL, PRIMARY KEY (item, arm)) STRICT;
"""


@dataclass(frozen=True)
class Result:
    """What an arm made of an item; `seconds` is this machine's time and decides nothing."""

    item: str
    arm: str
    payload: Mapping[str, Any]
    seconds: float


class StudyStore:
    """Reads and, when opened for writing, writes the folder of a study."""

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: Any) -> None:
        self.folder = folder
        self._db = db
        self._lock = lock

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.folder / DATABASE

    @staticmethod
    def exists(folder: Path) -> bool:
        """Tell whether a study was started in `folder`."""
        return (folder / DATABASE).is_file()

    @classmethod
    def create(cls, folder: Path, meta: Mapping[str, Any], experiment: Path) -> StudyStore:
        """Make the folder with a copy of the experiment's file and an empty store.

        Raises:
            InputError: the folder holds something else.
        """
        begun = ("lock", f"{DATABASE}.partial", EXPERIMENT)
        if folder.exists() and not (
            folder.is_dir() and all(entry.name.startswith(begun) for entry in folder.iterdir())
        ):
            hint = "give --out a folder that does not exist yet"
            raise InputError("neither an empty folder nor a study", where=str(folder), hint=hint)
        private_folder(folder)
        lock = exclusive(folder)
        try:
            partial = folder / f"{DATABASE}.partial"
            partial.unlink(missing_ok=True)
            db = sqlite3.connect(private_file(partial))
            db.executescript(_SCHEMA)
            rows = [
                (key, canonical_json(value)) for key, value in {"format": FORMAT, **meta}.items()
            ]
            db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            db.commit()
            db.close()
            if experiment.resolve() != (folder / EXPERIMENT).resolve():
                shutil.copyfile(experiment, private_file(folder / EXPERIMENT))
            partial.rename(folder / DATABASE)
            return cls(folder, _connect(folder, write=True), lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def open(cls, folder: Path, *, write: bool = False) -> StudyStore:
        """Open a study that exists.

        Raises:
            InputError: there is none, or another version wrote it.
        """
        if not cls.exists(folder):
            hint = "genesys-engine compare EXPERIMENT makes one"
            raise InputError("no study here", where=str(folder), hint=hint)
        lock = exclusive(folder) if write else None
        if write:
            close_to_others(folder)
        store = cls(folder, _connect(folder, write=write), lock)
        found = store.meta("format")
        if found != FORMAT:
            store.close()
            message = f"the study was written in format {found}, this version reads {FORMAT}"
            raise InputError(message, where=str(folder))
        return store

    def __enter__(self) -> StudyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; safe to call twice."""
        if self._lock is not None:
            # Leaves one plain file, which a reader can open without writing next to it.
            with suppress(sqlite3.Error):  # closed already, or somebody is reading
                self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def meta(self, key: str, default: Any = None) -> Any:
        """Return one fact of the study."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def set_meta(self, key: str, value: Any) -> None:
        """Set one fact of the study."""
        sql = (
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        with self._db:
            self._db.execute(sql, (key, canonical_json(value)))

    def add_result(self, item: str, arm: str, payload: Mapping[str, Any], seconds: float) -> None:
        """Record what an arm made of an item; on return the disk has it."""
        with self._db:
            self._db.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?)",
                (item, arm, canonical_json(payload), seconds, time.time()),
            )

    def results(self) -> list[Result]:
        """Return all results, ordered by item and arm."""
        rows = self._db.execute(
            "SELECT item, arm, payload, seconds FROM results ORDER BY item, arm"
        ).fetchall()
        return [Result(item, arm, json.loads(data), seconds) for item, arm, data, seconds in rows]


def _connect(folder: Path, *, write: bool) -> sqlite3.Connection:
    uri = f"{(folder / DATABASE).resolve().as_uri()}?mode={'rw' if write else 'ro'}"
    db = sqlite3.connect(uri, uri=True, timeout=30.0)
    if write:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    return db
