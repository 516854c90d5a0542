"""The store of one run: a folder with one SQLite file and one Zarr group.

One process writes (the coordinator), any number read.  A step of the engine is one
transaction.  The result of a verification is committed, with the disk synced, the moment
it arrives, before anything is decided from it; decisions need no sync, since they are repeated
as they were.  Loss curves wait in SQLite for their chunk of the Zarr array (see `curves`).

    tasks          what was decided, in order; `result` once paid for; `applied` once decided upon
    designs        every tree that was accepted or rejected, with its lineage
    units          the source of every unit once, by digest; trees refer to it
    verifications  one design trained and evaluated at one rung with one training seed
    places         at what kind of place of its parent a design was changed
    confirmations  what the audit of a design found, and why it is disqualified if it is
    events         the log (see `events`)
    llm_calls      what language models were asked and replied (see `llm.ledger`)
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.records import from_json, plain, to_json
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.facts import Facts
from genesys_engine.engine.jobs.results import ConfirmResult, Result, read_result
from genesys_engine.engine.jobs.scores import Controls, Score, Scores
from genesys_engine.engine.jobs.tasks import (
    DesignTask,
    Task,
    read_task,
)
from genesys_engine.engine.store import curves
from genesys_engine.engine.store.backup import BACKUP, Backup
from genesys_engine.engine.store.columns import read_json, read_record, unreadable
from genesys_engine.engine.store.curves import Curve, Curves
from genesys_engine.engine.store.database import EXPERIMENT, Database
from genesys_engine.engine.store.event_types import EventRecord
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.recovery import damaged_store
from genesys_engine.engine.store.schema import (
    CONFIRMATIONS,
    DATABASE,
    FORMAT,
    PLACES,
    SCHEMA,
)
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import private_umask

__all__ = [
    "DATABASE",
    "EXPERIMENT",
    "ConfirmationRow",
    "DesignRow",
    "Store",
    "TaskRow",
    "VerificationRow",
]
Record = TypeVar("Record", bound=EventRecord)

_DESIGN_COLUMNS = (
    "id, seq, accepted, digest, fingerprint, parents, operator, change,"
    " parameters, flops, rung, fitness"
)


@dataclass(frozen=True)
class TaskRow:
    """One decision: a design to make, a verification to do or a design to confirm."""

    seq: int
    task: Task
    result: Result | None = None
    facts: Facts = field(default_factory=dict)
    applied: bool = False

    @property
    def kind(self) -> str:
        """What is to be done."""
        return self.task.kind

    @property
    def is_seed(self) -> bool:
        """Whether a seed is to be made, without which a run has no beginning."""
        return isinstance(self.task, DesignTask) and self.task.seed is not None


@dataclass(frozen=True)
class DesignRow:
    """One design; its tree and its check report are read apart, being large.

    `parameters` and `flops` (per token) are those at the lowest rung, None where the check
    failed.  `rung` is the index of the highest rung verified, `fitness` the mean gain in percent
    over the reference; both None before the first verification.
    """

    id: int
    seq: int
    accepted: bool
    digest: str
    fingerprint: str | None
    parents: tuple[int, ...]
    operator: str
    change: str
    parameters: float | None = None
    flops: float | None = None
    rung: int | None = None
    fitness: float | None = None


@dataclass(frozen=True)
class VerificationRow:
    """One verification; `id` is also its row in the array of loss curves."""

    id: int
    seq: int
    design: int
    rung: int
    replicate: int
    status: str
    reason: str
    fitness: float | None
    scores: Scores
    controls: Controls
    tokens: int
    facts: Facts


@dataclass(frozen=True)
class ConfirmationRow:
    """One audit of a design verified up to `rung`; a `problem` disqualifies the design."""

    seq: int
    design: int
    rung: int
    problem: str
    found: ConfirmResult


class Store(Database):
    """Reads and, when opened for writing, writes the folder of a run."""

    kind, file, format = "run", DATABASE, FORMAT
    schema = SCHEMA + CONFIRMATIONS + PLACES + curves.SCHEMA
    how_to_get_one = "give the folder that `genesys-engine run` printed in its last line"

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Any = None) -> None:
        super().__init__(folder, connection, lock)
        self.curves = Curves(connection, folder)
        self.backup = Backup(connection, folder)

    @classmethod
    def missing(cls, folder: Path) -> InputError:
        """Return the error of a folder without a run, or with a backup alone."""
        if (folder / BACKUP).is_file():
            return damaged_store(folder, f"{DATABASE} is missing")
        return super().missing(folder)

    @classmethod
    def damaged(cls, folder: Path, error: object) -> InputError:
        """Return the error that says what is damaged, what is left, and what to do."""
        return damaged_store(folder, error)

    def _upgrade(self) -> None:
        self._db.executescript(CONFIRMATIONS + PLACES)

    def close(self) -> None:
        """Write what waits and the backup, and close the files; safe to call twice."""
        if self._lock is not None:
            with private_umask(), suppress(sqlite3.Error):  # closed already
                self.curves.write()
                self.backup.make()
        super().close()

    # --- writing -----------------------------------------------------------------------------

    def add_task(self, seq: int, task: Task) -> None:
        """Record a decision before it is carried out."""
        self._db.execute(
            "INSERT INTO tasks (seq, kind, payload, issued_at) VALUES (?, ?, ?, ?)",
            (seq, task.kind, canonical_json(to_json(task)), time.time()),
        )

    def add_result(self, seq: int, result: Result, facts: Facts) -> None:
        """Record what a task gave; a second result for the same task is a bug."""
        changed = self._db.execute(
            "UPDATE tasks SET result = ?, facts = ?, finished_at = ?"
            " WHERE seq = ? AND result IS NULL",
            (canonical_json(result.to_json()), json.dumps(facts), time.time(), seq),
        ).rowcount
        if changed != 1:
            raise AssertionError(f"task {seq} already has a result")

    def mark_applied(self, seq: int) -> None:
        """Record that the designs and verifications now hold this task's result."""
        self._db.execute("UPDATE tasks SET applied = 1, result = '{}' WHERE seq = ?", (seq,))

    def add_design(
        self, row: DesignRow, tree: Mapping[str, JsonValue], report: DesignReport
    ) -> None:
        """Record a design: its tree in JSON and the report of its check."""
        sources = from_json(dict[str, str], tree["units"])
        digests = {name: _digest(source) for name, source in sources.items()}
        units = zip(digests.values(), sources.values(), strict=True)
        self._db.executemany("INSERT OR IGNORE INTO units VALUES (?, ?)", units)
        self._insert(
            "designs",
            id=row.id,
            seq=row.seq,
            accepted=int(row.accepted),
            digest=row.digest,
            fingerprint=row.fingerprint,
            parents=canonical_json(list(row.parents)),
            operator=row.operator,
            change=row.change,
            parameters=row.parameters,
            flops=row.flops,
            rung=row.rung,
            fitness=row.fitness,
            tree=canonical_json({**tree, "units": digests}),
            report=canonical_json(report.to_json()),
        )

    def set_report(self, design: int, report: DesignReport) -> None:
        """Replace the check report of a design by one that knows more scales."""
        sql = "UPDATE designs SET report = ? WHERE id = ?"
        self._db.execute(sql, (canonical_json(report.to_json()), design))

    def set_standing(self, design: int, rung: int | None, fitness: float | None) -> None:
        """Record a design's highest rung and its mean fitness; None takes its standing away."""
        self._db.execute(
            "UPDATE designs SET rung = ?, fitness = ? WHERE id = ?", (rung, fitness, design)
        )

    def add_verification(self, row: VerificationRow, curve: Curve) -> None:
        """Record a verification and its loss curve."""
        if curve:
            self.curves.add(row.id, curve)
        self._insert(
            "verifications",
            id=row.id,
            seq=row.seq,
            design=row.design,
            rung=row.rung,
            replicate=row.replicate,
            status=row.status,
            reason=row.reason,
            fitness=row.fitness,
            scores=canonical_json(plain(row.scores)),
            controls=canonical_json(plain(row.controls)),
            tokens=row.tokens,
            facts=json.dumps(row.facts),
        )

    def add_place(self, design: int, interface: str) -> None:
        """Record at what kind of place of its parent a design was changed."""
        self._insert("places", design=design, interface=interface)

    def add_confirmation(self, row: ConfirmationRow) -> None:
        """Record what an audit found."""
        self._insert(
            "confirmations",
            seq=row.seq,
            design=row.design,
            rung=row.rung,
            problem=row.problem,
            found=canonical_json(row.found.to_json()),
        )

    def _insert(self, table: str, **values: str | float | None) -> None:
        columns = ", ".join(values)
        marks = ", ".join(f":{column}" for column in values)
        self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)

    def add_event(self, record: EventRecord, *, decisive: bool = True) -> Event:
        """Append to the log and return the entry."""
        at, kind, payload = time.time(), record.KIND, record.to_json()
        cursor = self._db.execute(
            "INSERT INTO events (kind, payload, decisive, at) VALUES (?, ?, ?, ?)",
            (kind, canonical_json(payload), int(decisive), at),
        )
        return Event(int(cursor.lastrowid or 0), kind, payload, decisive, at)

    # --- reading -----------------------------------------------------------------------------

    def tasks(self, *, unapplied_only: bool = False) -> Iterator[TaskRow]:
        """Yield the tasks in order; the result of one that is applied is no longer kept."""
        where = "WHERE applied = 0" if unapplied_only else ""
        for row in self._db.execute(f"SELECT * FROM tasks {where} ORDER BY seq"):
            yield _task(row)

    def facts(self, seq: int) -> Facts:
        """Return the facts of a task; none before it has ended."""
        row = self._db.execute("SELECT facts FROM tasks WHERE seq = ?", (seq,)).fetchone()
        found: Facts = {} if row is None else read_json(row["facts"] or "{}")
        return found

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        assert table in {"tasks", "designs", "verifications", "events"}
        return int(self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])

    def design(self, design: int) -> DesignRow:
        """Return one design; `InputError` names the range when there is none."""
        return _design(self._design_columns(design, _DESIGN_COLUMNS))

    def tree(self, design: int) -> dict[str, JsonValue]:
        """Return the tree of a design in JSON, sources included."""
        tree = read_record(dict[str, JsonValue], self._design_columns(design, "tree")["tree"])
        units = from_json(dict[str, str], tree["units"])
        marks = ", ".join("?" * len(units))
        sql = f"SELECT digest, source FROM units WHERE digest IN ({marks})"
        sources = dict(tuple(row) for row in self._db.execute(sql, tuple(units.values())))
        return tree | {"units": {name: sources[digest] for name, digest in units.items()}}

    def unit_names(self, design: int) -> list[str]:
        """Return the names of the units in the tree of a design."""
        sql = (
            "SELECT unit.key AS name FROM designs, json_each(designs.tree, '$.units') AS unit"
            " WHERE designs.id = ?"
        )
        return [row["name"] for row in self._db.execute(sql, (design,))]

    def report(self, design: int) -> DesignReport:
        """Return the check report of a design."""
        return read_record(DesignReport, self._design_columns(design, "report")["report"])

    def _design_columns(self, design: int, columns: str) -> sqlite3.Row:
        sql = f"SELECT {columns} FROM designs WHERE id = ?"
        row: sqlite3.Row | None = self._db.execute(sql, (design,)).fetchone()
        if row is None:
            raise InputError(
                f"no design {design} in this run",
                where=str(self.folder),
                hint=f"designs are numbered 0 to {self.count('designs') - 1}",
            )
        return row

    def designs(self, *, after: int = -1) -> Iterator[DesignRow]:
        """Yield the designs in order of their numbers, from the one behind `after`."""
        sql = f"SELECT {_DESIGN_COLUMNS} FROM designs WHERE id > ? ORDER BY id"
        for row in self._db.execute(sql, (after,)):
            yield _design(row)

    def leaderboard(self, limit: int | None = None) -> list[DesignRow]:
        """Return the verified designs: highest rung first, then best fitness."""
        rows = self._db.execute(
            f"SELECT {_DESIGN_COLUMNS} FROM designs WHERE accepted = 1 AND rung IS NOT NULL"
            " ORDER BY rung DESC, fitness DESC, id LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [_design(row) for row in rows]

    def verifications(
        self, design: int | None = None, *, after: int = -1
    ) -> Iterator[VerificationRow]:
        """Yield the verifications in order, of one design or all, those behind `after`."""
        of_design = "" if design is None else "AND design = :design"
        sql = f"SELECT * FROM verifications WHERE id > :after {of_design} ORDER BY id"
        for row in self._db.execute(sql, {"design": design, "after": after}):
            yield _verification(row)

    def confirmations(self, design: int | None = None) -> Iterator[ConfirmationRow]:
        """Yield the audits in order, at one design or at all."""
        if not self._has("confirmations"):
            return
        where = "" if design is None else "WHERE design = :design"
        sql = f"SELECT * FROM confirmations {where} ORDER BY seq"
        for row in self._db.execute(sql, {"design": design}):
            found = read_record(ConfirmResult, row["found"])
            yield ConfirmationRow(**{**dict(row), "found": found})

    def places(self) -> dict[int, str]:
        """Return the interface of the place that was changed, by design, where it is known."""
        if not self._has("places"):
            return {}
        return dict(tuple(row) for row in self._db.execute("SELECT design, interface FROM places"))

    def _has(self, table: str) -> bool:
        """Tell whether there is a table that a run has only since a later version."""
        known = "SELECT 1 FROM sqlite_master WHERE name = :name"
        return self._db.execute(known, {"name": table}).fetchone() is not None

    def disqualification(self, design: int, *, before: int | None = None) -> str:
        """Return why a design is disqualified, "" where it is not.

        Args:
            before: only by tasks with a smaller number.
        """
        problems = (
            row.problem
            for row in self.confirmations(design)
            if row.problem and (before is None or row.seq < before)
        )
        return next(problems, "")

    def disqualified(self) -> dict[int, str]:
        """Return the designs that an audit has disqualified, each with the reason."""
        return {row.design: row.problem for row in self.confirmations() if row.problem}

    def events(self, *, after: int = 0) -> Iterator[Event]:
        """Yield the log in order, from the entry behind `after`."""
        sql = "SELECT * FROM events WHERE id > ? ORDER BY id"
        for row in self._db.execute(sql, (after,)):
            payload = read_json(row["payload"])
            yield Event(row["id"], row["kind"], payload, bool(row["decisive"]), row["at"])

    def last_event(self) -> int:
        """Return the number of the last entry of the log, 0 before the first."""
        return int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()[0])

    def records(self, kind: type[Record]) -> Iterator[Record]:
        """Yield what the events of one kind hold, in order."""
        sql = "SELECT payload FROM events WHERE kind = ? ORDER BY id"
        for row in self._db.execute(sql, (kind.KIND,)):
            yield read_record(kind, row["payload"])


@lru_cache(maxsize=1024)  # a child has most of its units from its parent
def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def _task(row: sqlite3.Row) -> TaskRow:
    seq, kind, applied = row["seq"], row["kind"], bool(row["applied"])
    with unreadable(f"task {seq}"):
        task = read_task(kind, read_json(row["payload"]))
        waits = row["result"] is not None and not applied
        result = read_result(kind, read_json(row["result"])) if waits else None
    return TaskRow(seq, task, result, read_json(row["facts"] or "{}"), applied)


def _design(row: sqlite3.Row) -> DesignRow:
    values = dict(row)
    values["accepted"] = bool(values["accepted"])
    values["parents"] = tuple(read_json(values["parents"]))
    return DesignRow(**values)


def _verification(row: sqlite3.Row) -> VerificationRow:
    values = dict(row)
    values["scores"] = read_record(dict[str, Score], values["scores"])
    values["controls"] = read_record(dict[str, dict[str, Score]], values["controls"])
    values["facts"] = read_json(values["facts"])
    return VerificationRow(**values)
