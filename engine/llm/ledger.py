"""The record of every reply of a language model, in an SQLite file.

A reply is committed, with the disk synced, before anybody uses it: it was paid for.  The
same request is then answered from the record, in this process or a later one, at no cost.
Requests are distinguished by their *key*: model, messages, parameters, seed and schema.
The caps on what is spent are in `spending`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.records import from_json
from genesys_engine.engine.common.redact import redact
from genesys_engine.gab.private import private_file
from genesys_engine.plugins.api import LLMReply, LLMUsage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS llm_calls (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, request_digest TEXT NOT NULL, role TEXT NOT NULL,
  task TEXT NOT NULL, model TEXT NOT NULL, request TEXT NOT NULL, reply TEXT, refused TEXT,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, usd REAL,
  details TEXT NOT NULL, latency_s REAL NOT NULL, attempt INTEGER NOT NULL, at REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS llm_calls_key ON llm_calls (key);
"""


@dataclass(frozen=True)
class Call:
    """One call: what was asked and what came of it.

    `reply` is None where the request was refused for good; `refused` then says why.  `usd` is
    None where the price is unknown.  `attempt` counts from 1; `at` is seconds since the epoch.
    """

    role: str
    task: str
    model: str
    request: Mapping[str, JsonValue]
    request_digest: str
    reply: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    refused: str | None = None
    latency_s: float = 0.0
    attempt: int = 1
    at: float = 0.0

    @property
    def key(self) -> str:
        """What the call is found by."""
        return call_key(self.model, self.request_digest)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The role and the text of every message of the request."""
        return from_json(list[tuple[str, str]], self.request["messages"])

    def as_reply(self) -> LLMReply:
        """Return the reply as it was given."""
        assert self.reply is not None
        counts = (self.input_tokens, self.output_tokens)
        return LLMReply(self.reply, *counts, dict(self.details), self.usd)


def call_key(model: str, digest: str) -> str:
    """Return what a call is found by: the request and the model that was asked."""
    return hashlib.sha256(f"{model}\n{digest}".encode()).hexdigest()


class Ledger:
    """The calls in the SQLite file `path`; threads may share it, one process writes."""

    def __init__(self, path: Path, *, write: bool = True) -> None:
        if write:
            private_file(path)
        uri = f"{path.resolve().as_uri()}?mode={'rwc' if write else 'ro'}"
        self._db = sqlite3.connect(uri, uri=True, timeout=30.0, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._lock = threading.Lock()
        if write:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        sql = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'llm_calls'"
        self._exists = bool(self._db.execute(sql).fetchone()[0])

    def find(self, key: str) -> Call | None:
        """Return the first call of this key: the one whose reply was used."""
        with self._lock:
            sql = "SELECT * FROM llm_calls WHERE key = ? ORDER BY id LIMIT 1"
            row = self._db.execute(sql, (key,)).fetchone()
        return None if row is None else _call(row)

    def add(self, call: Call) -> None:
        """Record a call; on return the disk has it."""
        words = (call.role, call.task, call.model, redact(canonical_json(call.request)))
        reply = None if call.reply is None else redact(call.reply)
        refused = None if call.refused is None else redact(call.refused)
        numbers = (call.input_tokens, call.output_tokens, call.usd)
        about = (redact(canonical_json(dict(call.details))), call.latency_s, call.attempt)
        values = (call.key, call.request_digest, *words, reply, refused, *numbers, *about)
        columns = (
            "key, request_digest, role, task, model, request, reply, refused, input_tokens,"
            " output_tokens, usd, details, latency_s, attempt, at"
        )
        marks = ", ".join("?" * (len(values) + 1))
        with self._lock, self._db:
            sql = f"INSERT INTO llm_calls ({columns}) VALUES ({marks})"
            self._db.execute(sql, (*values, call.at or time.time()))

    def has_answered(self, model: str) -> bool:
        """Tell whether a model has ever given a reply."""
        sql = "SELECT 1 FROM llm_calls WHERE model = ? AND reply IS NOT NULL LIMIT 1"
        with self._lock:
            return self._db.execute(sql, (model,)).fetchone() is not None

    def calls(self, task: str | None = None) -> Iterator[Call]:
        """Yield the calls in order, of one task or of all."""
        where = "" if task is None else "AND task = :task"
        last = 0
        while self._exists:
            with self._lock:
                rows = self._db.execute(
                    f"SELECT * FROM llm_calls WHERE id > :last {where} ORDER BY id LIMIT 200",
                    {"last": last, "task": task},
                ).fetchall()
            if not rows:
                return
            last = rows[-1]["id"]
            yield from map(_call, rows)

    def usage(self, task: str | None = None) -> dict[str, LLMUsage]:
        """Return what was used, by role, of one task or of all; every call counts once."""
        if not self._exists:
            return {}
        where = "" if task is None else "WHERE task = :task"
        with self._lock:
            rows = self._db.execute(
                "SELECT role, COUNT(*) AS calls, SUM(input_tokens) AS input,"
                " SUM(output_tokens) AS output, SUM(usd) AS usd,"
                f" SUM(usd IS NULL) AS unknown FROM llm_calls {where} GROUP BY role",
                {"task": task},
            ).fetchall()
        return {row["role"]: _usage(row) for row in rows}

    def usage_by_task(self) -> dict[str, LLMUsage]:
        """Return what each task was the first to ask, all roles together."""
        if not self._exists:
            return {}
        with self._lock:
            rows = self._db.execute(
                "SELECT task, COUNT(*) AS calls, SUM(input_tokens) AS input, SUM(output_tokens)"
                " AS output, SUM(usd) AS usd, SUM(usd IS NULL) AS unknown FROM llm_calls"
                " GROUP BY task"
            ).fetchall()
        return {row["task"]: _usage(row) for row in rows}

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with self._lock:
            self._db.close()


def _usage(row: sqlite3.Row) -> LLMUsage:
    usd = None if row["unknown"] else float(row["usd"])
    return LLMUsage(row["calls"], row["input"], row["output"], usd)


def _call(row: sqlite3.Row) -> Call:
    values = dict(row)
    del values["id"], values["key"]
    for name in ("request", "details"):
        values[name] = json.loads(values[name])
    return Call(**values)
