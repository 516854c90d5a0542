"""Loss curves of a run: one Zarr array, a row per verification, written a chunk at a time.

A curve is committed to SQLite with its verification and moves to Zarr together with those that
share its chunk: writing a chunk costs milliseconds, however many of its rows are new.  Wherever
the process is killed, a curve stands in one of the two places.  The row of a running verification
holds its curve so far (see `live_curves`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ARRAYS = "arrays.zarr"
NAME = "curves"
POINTS = 200
ROWS_PER_CHUNK = 64

SCHEMA = """
CREATE TABLE waiting_curves (verification INTEGER PRIMARY KEY, points BLOB NOT NULL) STRICT;
"""

Curve = Sequence[Sequence[float]]


class Curves:
    """The curves of the run in `folder`, whose database is `db`; one process writes."""

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._group = folder / ARRAYS
        self._array: Any = None

    @property
    def allocated(self) -> bool:
        """Whether the array has been made: a kill may leave the group without it."""
        import zarr

        try:
            return NAME in zarr.open_group(self._group, mode="r")
        except FileNotFoundError:
            return False

    def allocate(self, verifications: int) -> None:
        """Make the array, NaN everywhere: (verifications, POINTS, 2) of tokens and loss."""
        import zarr

        zarr.create_array(
            store=self._group,
            name=NAME,
            shape=(verifications, POINTS, 2),
            chunks=(ROWS_PER_CHUNK, POINTS, 2),
            dtype="float64",
            fill_value=float("nan"),
            attributes={"columns": ["tokens", "training loss (nats per token)"]},
            overwrite=True,
        )

    def add(self, verification: int, curve: Curve) -> None:
        """Keep a curve, at most POINTS of it, within the caller's transaction."""
        import numpy as np

        points = np.asarray(curve[:POINTS], dtype=np.float64).tobytes()
        self._db.execute("INSERT INTO waiting_curves VALUES (?, ?)", (verification, points))

    def show(self, verification: int, curve: Curve) -> None:
        """Write the curve so far of a running verification."""
        self._holding(verification)[verification] = _padded(curve)

    def read(self, verification: int) -> list[tuple[float, float]]:
        """Return the (tokens, loss) points of one verification; empty when it left none."""
        import numpy as np

        sql = "SELECT points FROM waiting_curves WHERE verification = ?"
        row = self._db.execute(sql, (verification,)).fetchone()
        if row is not None:
            rows = _points(row)
        elif verification < (array := self._opened()).shape[0]:
            rows = np.asarray(array[verification])
        else:
            return []
        return [(float(tokens), float(loss)) for tokens, loss in rows[np.isfinite(rows[:, 0])]]

    def write_full_chunk(self) -> None:
        """Move what waits to Zarr once it fills a chunk; call it outside a transaction."""
        waiting = self._db.execute("SELECT COUNT(*) FROM waiting_curves").fetchone()[0]
        if waiting >= ROWS_PER_CHUNK:
            self.write()

    def write(self) -> None:
        """Move all that waits to Zarr, a block of neighbouring rows at a time."""
        rows = self._db.execute("SELECT * FROM waiting_curves ORDER BY verification").fetchall()
        if not rows:
            return
        import numpy as np

        first, last = rows[0]["verification"], rows[-1]["verification"]
        array = self._holding(last)
        block = np.asarray(array[first : last + 1])
        for row in rows:
            block[row["verification"] - first] = _padded(_points(row))
        array[first : last + 1] = block
        self._db.execute("DELETE FROM waiting_curves WHERE verification <= ?", (last,))
        self._db.commit()

    def _holding(self, verification: int) -> Any:
        """Return the array, enlarged where it has no row for a verification."""
        array = self._opened()
        if verification >= array.shape[0]:
            array.resize((verification + 1, POINTS, 2))
        return array

    def _opened(self) -> Any:
        if self._array is None:
            import zarr

            self._array = zarr.open_group(self._group, mode="r+")[NAME]
        return self._array


def _padded(curve: Curve) -> Any:
    """Return a whole row of the array: the curve, at most POINTS of it, then NaN."""
    import numpy as np

    row = np.full((POINTS, 2), np.nan)
    points = np.asarray(curve[:POINTS], dtype=np.float64)
    row[: len(points)] = points
    return row


def _points(row: sqlite3.Row) -> Any:
    """Return the (points, 2) array of a waiting row."""
    import numpy as np

    return np.frombuffer(row["points"], dtype=np.float64).reshape(-1, 2)
