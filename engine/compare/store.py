"""The store of a study: a folder with one SQLite file, and the runs of an evolution study.

The result of an arm on an item (a proposal, a seed) is one row, committed with the disk synced;
what has a row is never done again.  The record of the language models' replies lies in the same
file (`engine.llm.ledger`), so that an item that was cut short is started again with the replies
that were paid for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.store.columns import read_json
from genesys_engine.engine.store.database import Database

RUNS = "runs"
"""Folder of the runs of an evolution study, in its own."""
FOLDER = "folder"
"""Key of the metadata: where the file that the study was started with lies."""


@dataclass(frozen=True)
class Result:
    """What an arm made of an item; `seconds` is this machine's time and decides nothing."""

    item: str
    arm: str
    payload: Mapping[str, Any]
    seconds: float


class StudyStore(Database):
    """Reads and, when opened for writing, writes the folder of a study."""

    kind, file, format = "study", "study.sqlite", 1
    schema = """
CREATE TABLE results (
  item TEXT NOT NULL, arm TEXT NOT NULL, payload TEXT NOT NULL, seconds REAL NOT NULL,
  at REAL NOT NULL, PRIMARY KEY (item, arm)) STRICT;
"""
    how_to_get_one = "genesys-engine compare EXPERIMENT makes one"

    def keep(self, key: str, value: Any) -> None:
        """Set one fact of the study; on return the disk has it."""
        with self.transaction(sync=True):
            self.set_meta(key, value)

    def add_result(self, item: str, arm: str, payload: Mapping[str, Any], seconds: float) -> None:
        """Record what an arm made of an item; on return the disk has it."""
        with self.transaction(sync=True):
            self._db.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?)",
                (item, arm, canonical_json(payload), seconds, time.time()),
            )

    def results(self) -> list[Result]:
        """Return all results, ordered by item and arm."""
        rows = self._db.execute(
            "SELECT item, arm, payload, seconds FROM results ORDER BY item, arm"
        ).fetchall()
        return [Result(item, arm, read_json(data), seconds) for item, arm, data, seconds in rows]
