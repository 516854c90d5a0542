"""What a column holds, as data: a text that does not fit is damage, which `recovery` explains."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from genesys_engine.engine.common.records import from_json

Record = TypeVar("Record")


@contextmanager
def unreadable(what: str) -> Iterator[None]:
    """Turn a `ValueError` into `sqlite3.DatabaseError`: what was stored cannot be read."""
    try:
        yield
    except ValueError as error:
        raise sqlite3.DatabaseError(f"{what}: {error}") from None


def read_json(text: str) -> Any:
    """Return the JSON of a column.

    Raises:
        sqlite3.DatabaseError: it is no JSON.
    """
    with unreadable("a value is not JSON"):
        return json.loads(text)


def read_record(kind: type[Record], text: str) -> Record:
    """Return the record that the JSON of a column holds.

    Raises:
        sqlite3.DatabaseError: it is no JSON, or does not fit.
    """
    data = read_json(text)
    with unreadable("a value cannot be read"):
        return from_json(kind, data)
