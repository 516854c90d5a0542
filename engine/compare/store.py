"""The store of a study: a folder with one SQLite file, and the runs of an evolution study.

The result of an arm on an item (a proposal, a seed) is one row, committed with the disk synced, and
is never computed again.  The replies of language models are recorded in the same file
(`engine.llm.ledger`), so that an interrupted item restarts with the replies that were paid for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from genesys_engine.engine.common import records
from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.compare.results import AnyResult, CutShort, Made, Result
from genesys_engine.engine.store.columns import read_json
from genesys_engine.engine.store.database import Database
from genesys_engine.gab.errors import InputError

RUNS = "runs"
"""Folder of the runs of an evolution study, in its own."""
FOLDER = "folder"
"""Key of the metadata: the folder of the experiment file that started the study."""
_CUT = "cut"


class StudyStore(Database):
    """Reads and, when opened for writing, writes the folder of a study."""

    kind, file, format = "study", "study.sqlite", 2
    schema = """
CREATE TABLE results (
  item TEXT NOT NULL, arm TEXT NOT NULL, payload TEXT NOT NULL, seconds REAL NOT NULL,
  at REAL NOT NULL, PRIMARY KEY (item, arm)) STRICT;
"""
    how_to_get_one = "genesys-engine compare EXPERIMENT makes one"

    def keep(self, key: str, value: object) -> None:
        """Set one metadata value; on return it is on disk."""
        with self.transaction(sync=True):
            self.set_meta(key, value)

    def keep_cut(self, cut: Mapping[str, CutShort]) -> None:
        """Record the arms that were interrupted during a proposal."""
        self.keep(_CUT, {arm: records.to_json(each) for arm, each in cut.items()})

    def cut(self) -> dict[str, CutShort]:
        """Return the arms that were interrupted during a proposal."""
        kept = self.meta(_CUT, {})
        return {arm: records.from_json(CutShort, each) for arm, each in kept.items()}

    def add_result(self, result: AnyResult) -> None:
        """Record a result; on return it is on disk."""
        made = canonical_json(records.to_json(result.made))
        with self.transaction(sync=True):
            self._db.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?)",
                (result.item, result.arm, made, result.seconds, time.time()),
            )

    def any_result(self) -> bool:
        """Return whether there are results."""
        return self._db.execute("SELECT 1 FROM results").fetchone() is not None

    def results(self, kind: type[Made]) -> list[Result[Made]]:
        """Return all results, ordered by item and arm.

        Raises:
            InputError: one is not of this kind.
        """
        rows = self._db.execute(
            "SELECT item, arm, payload, seconds FROM results ORDER BY item, arm"
        ).fetchall()
        return [
            Result(item, arm, self._made(kind, made, f"{item}, {arm}"), seconds)
            for item, arm, made, seconds in rows
        ]

    def _made(self, kind: type[Made], text: str, name: str) -> Made:
        try:
            return records.from_json(kind, read_json(text))
        except ValueError as error:
            raise InputError(
                f"the result of {name} does not fit: {error}",
                where=str(self.path),
                hint="compare again in a new folder",
            ) from None
