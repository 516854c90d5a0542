"""Documents in the rows of JSON-lines and parquet files: one field of each row is the text.

JSON lines are read by the standard library, line by line.  The readers of whole columns (pyarrow,
and `datasets` with it) decide on one type for many rows: a text that looks like a date becomes a
date, and a row of another type changes its neighbours or ends the file without its line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError, in_a_line

SUFFIXES = (".jsonl", ".parquet")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
REPLACEMENT = "\ufffd"
ROWS_AT_ONCE = 1024
TYPES: Mapping[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bytes: "binary data",
    str: "text",
    type(None): "null",
}
_SURROGATE = re.compile("[\ud800-\udfff]")

Rows = Iterable[tuple[int, Any]]
"""Rows with their numbers, which count from 1 as an editor's lines do."""


@dataclass
class Tally:
    """What a pass over rows has met so far.

    `repaired` counts texts with lone surrogates, which no encoding has.  `empty_at` and
    `repaired_at` say where the first of each stands, `found` which fields the first row without
    text has.
    """

    rows: int = 0
    without_text: int = 0
    empty_at: str = ""
    found: tuple[str, ...] = ()
    repaired: int = 0
    repaired_at: str = ""

    def restart(self) -> None:
        """Count from nothing again: another pass begins."""
        for each in fields(self):
            setattr(self, each.name, each.default)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.rows + other.rows,
            self.without_text + other.without_text,
            self.empty_at or other.empty_at,
            self.found or other.found,
            self.repaired + other.repaired,
            self.repaired_at or other.repaired_at,
        )

    def require_text(self, field: str) -> None:
        """Raise InputError where there are rows and none of them has text."""
        if not self.rows or self.without_text < self.rows:
            return
        has = f"it has {', '.join(self.found)}" if self.found else "it has none"
        raise InputError(
            f"neither this row ({has}) nor any other has text in the field {field!r}",
            where=self.empty_at,
            hint="set text_field",
        )

    def sentences(self) -> Iterator[str]:
        """Yield what a person should know, one sentence each."""
        if count := self.without_text:
            rows = "1 row without text was" if count == 1 else f"{count:,} rows without text were"
            yield f"{rows} left out, of {self.rows:,} (the first: {self.empty_at})"
        if count := self.repaired:
            rows = "1 row holds" if count == 1 else f"{count:,} rows hold"
            yield f"{rows} half a surrogate pair, now U+FFFD (the first: {self.repaired_at})"


def file_texts(path: Path, field: str, tally: Tally) -> Iterator[str]:
    """Yield the text of every row of a file that has one.

    Raises:
        InputError: the file cannot be read, or a row holds something else than text.
    """
    if path.suffix == ".parquet":
        return texts(_parquet(path, field), field, tally, lambda row: f"{path}, row {row}")
    return texts(_json_lines(path), field, tally, lambda line: f"{path}:{line}")


def texts(rows: Rows, field: str, tally: Tally, where: Callable[[int], str]) -> Iterator[str]:
    """Yield one field of every row; a row without it, or with null, is counted and left out.

    Args:
        where: says where the row of a number stands.

    Raises:
        InputError: a row is no object, or the field holds something else than text.
    """
    for number, row in rows:
        tally.rows += 1
        value = row.get(field) if isinstance(row, dict) else row
        if isinstance(value, str) and value is not row:
            if _SURROGATE.search(value):
                tally.repaired += 1
                tally.repaired_at = tally.repaired_at or where(number)
                value = _SURROGATE.sub(REPLACEMENT, value)
            yield value
        elif value is None or (isinstance(value, float) and math.isnan(value)):  # pandas' null
            tally.without_text += 1
            if not tally.empty_at:
                tally.empty_at, tally.found = where(number), tuple(row or ())
        elif value is row:
            raise InputError(
                f"the line holds {type_name(row)}, not an object",
                where=where(number),
                hint=f'write one object in each line: {{"{field}": "..."}}',
            )
        else:
            raise InputError(
                f"the field {field!r} holds {type_name(value)}, not text",
                where=where(number),
                hint="fix or remove this row, or choose another field: text_field",
            )


def type_name(value: Any) -> str:
    """Return what JSON calls the type of a value; of others Python's word."""
    return TYPES.get(type(value), type(value).__name__)


def _json_lines(path: Path) -> Rows:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                yield number, json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise not_text(where, error.reason) from error
            except RecursionError:
                raise InputError("cannot be read: nested too deeply", where=where) from None
            except ValueError as error:
                raise InputError(
                    f"cannot be read: not a JSON line: {error}", where=where
                ) from error


def _parquet(path: Path, field: str) -> Rows:
    """Yield the rows of a file with one column; where it has no such column, with all names."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if field not in names:
                row = dict.fromkeys(names)
                yield from ((i, row) for i in range(1, file.metadata.num_rows + 1))
                return
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[field]):
                for value in batch.column(0):
                    number += 1
                    yield number, {field: value.as_py()}
    except UnicodeDecodeError as error:
        raise not_text(f"{path}, row {number}", error.reason) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot be read: {in_a_line(error)}", where=str(path)) from error


def not_text(where: str, reason: str) -> InputError:
    """Return the error of bytes that are no text."""
    return InputError(
        f"not UTF-8 text: {reason}",
        where=where,
        hint="convert the file, or remove it from corpus.paths",
    )
