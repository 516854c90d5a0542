"""JSON-lines files, plain or gzipped: a line is a document, and a file may be of any size."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.arxiv import arxiv_id

TEXT_FIELDS = ("text", "abstract", "summary", "content", "body")
ID_FIELDS = ("id", "paperId", "key", "doi")


def read(
    path: Path, max_line: int = 4_000_000, at: Callable[[int], None] = lambda position: None
) -> Iterator[Document | InputError]:
    """Yield one document per line; a line that cannot be used is an error with its number.

    Args:
        max_line: bytes; a longer line is left out and never held in memory.
        at: gets the bytes of the file that are read so far, before each document.
    """
    with path.open("rb") as raw, _unpacked(path, raw) as file:
        number = 0
        try:
            while line := file.readline(max_line + 1):
                number += 1
                at(raw.tell())
                where = f"{path}:{number}"
                if len(line) > max_line:
                    yield InputError(f"a line of more than {max_line:,} bytes", where=where)
                    if not _skip_line(file, line):
                        return
                elif line.strip():
                    yield _document(path, where, number, line)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            yield InputError(f"damaged gzip file: {error}", where=f"{path}:{number + 1}")


def _unpacked(path: Path, raw: IO[bytes]) -> IO[bytes]:
    gzipped = path.name.lower().endswith(".gz")
    return cast("IO[bytes]", gzip.open(raw, "rb") if gzipped else raw)


def _skip_line(file: IO[bytes], line: bytes) -> bool:
    """Read to the end of a line; False at the end of the file."""
    while not line.endswith(b"\n"):
        line = file.readline(1 << 20)
        if not line:
            return False
    return True


def _document(path: Path, where: str, number: int, line: bytes) -> Document | InputError:
    try:
        row: Any = json.loads(line)
    except ValueError as error:  # also where the line is not UTF-8
        return InputError(f"not a JSON line: {error}", where=where)
    except RecursionError:
        return InputError("not a JSON line: it is nested too deeply", where=where)
    if not isinstance(row, dict):
        return InputError("the line is not a JSON object", where=where)
    title = _string(row, ("title", "name"))
    text = _string(row, TEXT_FIELDS)
    if not title and not text:
        fields = ", ".join(map(str, row)) or "nothing"
        return InputError(f"has neither title nor text (it has {fields})", where=where)
    key = _string(row, ID_FIELDS) or str(number)
    year = row.get("year")
    return Document(
        id=f"file:{path.resolve()}#{key}",
        title=title or text[:80],
        text=text,
        source="folder",
        year=year if isinstance(year, int) and 0 < year < 10_000 else None,
        authors=_authors(row.get("authors")),
        arxiv=arxiv_id(_string(row, ("arxiv", "arxiv_id"))) or "",
        url=_string(row, ("url",)),
    )


def _string(row: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the first field that holds text or a number, as text."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and str(value).strip():
            return str(value).strip()
    return ""


def _authors(value: Any) -> tuple[str, ...]:
    """Return names from a list of strings or of objects with a `name`."""
    if not isinstance(value, list):
        return ()
    names = [a.get("name") if isinstance(a, dict) else a for a in value]
    return tuple(name for name in names if isinstance(name, str) and name)
