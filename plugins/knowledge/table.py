"""The table on disk: how it is made, opened, guarded and kept in order.

One row per passage.  The format and the embedding are written in the schema itself, so that
they appear together with the table or not at all.  A write is one version of the table: a
process killed in the middle leaves the version before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.knowledge.embeddings import Embedding

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
TABLE = "passages"
INDEXED_FROM = 1000  # rows: below, reading them all is as fast
OLD_VERSIONS = timedelta(hours=1)  # active readers may still use them


@dataclass(frozen=True)
class Facts:
    """The metadata of a table."""

    format: int
    embedding: str
    dimension: int


def schema(facts: Facts) -> pa.Schema:
    """Return the columns of a table; `vector` has the embedding's dimension."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    columns = [
        ("passage", text),  # document#part
        ("document", text),
        ("part", pa.int32()),
        ("parts", pa.int32()),
        ("digest", text),
        ("source", text),
        ("title", text),
        ("body", text),  # what is searched: the title and one part of the text
        ("year", pa.int32()),
        ("authors", texts),
        ("arxiv", text),
        ("url", text),
        ("unit", text),
        ("tags", texts),
        ("names", texts),  # what the document is called, see `Document.names`
        ("vector", pa.list_(pa.float32(), facts.dimension)),
    ]
    about = {"format": facts.format, "embedding": facts.embedding, "dimension": facts.dimension}
    return pa.schema(columns, {f"genesys.{key}": str(value) for key, value in about.items()})


def open_table(folder: Path, embedding: Embedding | str) -> tuple[Any, Facts]:
    """Return the table in `folder` and its metadata, creating it if necessary.

    Args:
        embedding: the embedding, or its name: it is loaded only to make a table.

    Raises:
        InputError: the table is of another version, or damaged.
        EnvironmentProblem: the folder cannot be written.
    """
    import lancedb

    try:
        folder.mkdir(parents=True, exist_ok=True)
        db = lancedb.connect(folder, read_consistency_interval=timedelta(0))
        if not exists(folder):
            with lock(folder):
                if not exists(folder):
                    _create(db, embedding)
    except OSError as error:
        raise EnvironmentProblem(f"cannot be written: {error}", where=str(folder)) from error
    return _open(db, folder)


def exists(folder: Path) -> bool:
    """Tell whether there is a table in `folder`."""
    return (folder / f"{TABLE}.lance" / "_versions").is_dir()


def _create(db: Any, embedding: Embedding | str) -> None:
    from genesys_engine.plugins.knowledge.embeddings import open_embedding

    made = open_embedding(embedding) if isinstance(embedding, str) else embedding
    db.create_table(TABLE, schema=schema(Facts(FORMAT, made.name, made.dimension)))


def _open(db: Any, folder: Path) -> tuple[Any, Facts]:
    try:
        table = db.open_table(TABLE)
        about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        facts = Facts(
            int(about["genesys.format"]),
            about["genesys.embedding"],
            int(about["genesys.dimension"]),
        )
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"the table cannot be read ({type(error).__name__}: {reason})",
            where=str(folder),
            hint="it is damaged, or not a knowledge base: move the folder away and add again",
        ) from error
    if facts.format < FORMAT:
        raise InputError(
            f"the table is of format {facts.format}, this version reads {FORMAT}",
            where=str(folder),
            hint="move the folder away and add again; nothing was changed",
        )
    if facts.format > FORMAT:
        raise InputError(
            f"the table is of format {facts.format}, this version reads up to {FORMAT}",
            where=str(folder),
            hint="update genesys-engine, or give another --base; nothing was changed",
        )
    return table, facts


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the right to write; the system gives it back when a process dies."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def tidy(table: Any) -> None:
    """Bring the indexes up to date and clear up; call with the lock held.

    The index of vectors has one partition: it stays exact, and keeps the vectors in memory
    (8,605 of 2,048 numbers: 9 ms for a search instead of 90).  Rows that an index doesn't know
    yet are found all the same, only more slowly.
    """
    from lancedb.index import FTS, IvfFlat, LabelList

    if table.count_rows() == 0:
        return
    indexed = {column for index in table.list_indices() for column in index.columns}
    if "body" not in indexed:
        table.create_index("body", config=FTS(with_position=False, language="English"))
    if "vector" not in indexed and table.count_rows() >= INDEXED_FROM:
        table.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=1))
    if "names" not in indexed and table.count_rows() >= INDEXED_FROM:
        table.create_index("names", config=LabelList())
    table.optimize(cleanup_older_than=OLD_VERSIONS)


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder; files that vanish meanwhile don't count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
