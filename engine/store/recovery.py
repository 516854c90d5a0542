"""What is left of a run whose database is damaged, and how it is brought back.

The backup holds the run as it was minutes before; resume does again what came after.  Without one,
the designs that can still be read are saved as trees, which may be the seeds of another run.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.engine.store.backup import BACKUP, copy_database
from genesys_engine.engine.store.lock import exclusive
from genesys_engine.engine.store.schema import DATABASE
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import private_file, private_folder

DAMAGED = DATABASE + ".damaged"
RECOVERED = "recovered"
CHECKPOINTS, REPORT = "checkpoints", "report.html"
_JSON = {
    "meta": ("value",),
    "tasks": ("payload", "result", "facts"),
    "designs": ("parents", "tree", "report"),
    "verifications": ("scores", "controls", "facts"),
    "events": ("payload",),
}
"""Tables and their columns that hold JSON."""


@dataclass(frozen=True)
class Holdings:
    """What a database holds: how much, and when it was written (epoch seconds)."""

    designs: int
    verifications: int
    at: float

    def __str__(self) -> str:
        """Return how much it is, and of when."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        return f"{self.designs} designs and {self.verifications} verifications, of {when}"


@dataclass(frozen=True)
class Recovery:
    """What `recover` did: `backup` was put back, or so many designs `saved` as files."""

    backup: Holdings | None = None
    saved: tuple[Path, ...] = ()
    whole: bool = False


def damaged_store(folder: Path, error: object) -> InputError:
    """Return the error that says what is damaged, what is left, and what to do."""
    known, kept = holdings(folder / BACKUP), list(_besides(folder))
    if known is not None:
        way = f"genesys-engine recover {folder} restores the backup ({known})"
        way += "; resume repeats the work done since"
    else:
        way = f"there is no backup; genesys-engine recover {folder} saves the designs that can be"
        way += " read, as seeds for another run"
    also = f"; not affected: {', '.join(kept)}" if kept else ""
    return InputError(
        f"the store is damaged: {error}", where=str(folder / DATABASE), hint=f"{way}{also}"
    )


def holdings(file: Path) -> Holdings | None:
    """Return what a database holds, None where there is none or it is damaged itself."""
    if not file.is_file():
        return None
    try:
        with contextlib.closing(_reading(file)) as db:
            _demand_whole(db)
            designs, verifications = _count(db, "designs"), _count(db, "verifications")
    except sqlite3.Error:
        return None
    return Holdings(designs, verifications, file.stat().st_mtime)


def recover(folder: Path) -> Recovery:
    """Bring a run back from its backup, or save what can be read.

    The damaged database stays next to, under another name.

    Raises:
        InputError: there is neither a run nor a backup.
        EnvironmentProblem: a process is writing to the run.
    """
    if not any((folder / name).exists() for name in (DATABASE, BACKUP)):
        raise InputError(
            "no run here",
            where=str(folder),
            hint="give the folder that `genesys-engine run` printed in its last line",
        )
    with exclusive(folder):
        if holdings(folder / DATABASE) is not None:
            return Recovery(whole=True)
        backup = holdings(folder / BACKUP)
        if backup is None:
            return Recovery(saved=tuple(_save_designs(folder)))
        _set_aside(folder)
        with contextlib.closing(_reading(folder / BACKUP)) as db:
            copy_database(db, folder / DATABASE)
        return Recovery(backup=backup)


def _besides(folder: Path) -> Iterator[str]:
    """Yield what lies in a run folder next to the database."""
    weights = len(list((folder / CHECKPOINTS).glob("*.safetensors")))
    if weights:
        yield f"{weights} checkpoints"
    if (folder / REPORT).exists():
        yield REPORT


def _reading(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)
    db.row_factory = sqlite3.Row
    return db


def _count(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def _demand_whole(db: sqlite3.Connection) -> None:
    """Read everything once; raises `sqlite3.Error` where something is damaged."""
    (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    for table, columns in _JSON.items():
        for row in db.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            for text in row:
                try:
                    json.loads(text or "null")
                except ValueError as error:
                    raise sqlite3.DatabaseError(f"{table}: {error}") from None


def _set_aside(folder: Path) -> None:
    """Give the damaged database and its journal another name."""
    number = 1
    while (folder / f"{DAMAGED}-{number}").exists():
        number += 1
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = folder / f"{DATABASE}{suffix}"
        if file.exists():
            shutil.move(file, folder / f"{DAMAGED}-{number}{suffix}")


def _save_designs(folder: Path) -> Iterator[Path]:
    """Write every design that can be read as a tree; yield the files."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_reading(folder / DATABASE)) as db:
        for design in range(10**6):
            try:
                row = db.execute(
                    "SELECT accepted, tree, change FROM designs WHERE id = ?", (design,)
                ).fetchone()
                if row is None:
                    break
                tree = json.loads(row["tree"])
                tree["units"] = {name: _unit(db, digest) for name, digest in tree["units"].items()}
            except (sqlite3.Error, ValueError, LookupError, TypeError):
                continue
            if row["accepted"]:
                file = folder / RECOVERED / f"design-{design}.json"
                private_folder(file.parent)
                private_file(file).write_text(
                    json.dumps({**tree, "change": row["change"]}), encoding="utf-8"
                )
                yield file


def _unit(db: sqlite3.Connection, digest: str) -> str:
    found = db.execute("SELECT source FROM units WHERE digest = ?", (digest,)).fetchone()
    return str(found["source"])
