"""The knowledge base: documents in an embedded LanceDB table, found by meaning and by words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge import table as tables
from genesys_engine.plugins.knowledge.documents import Document, clean, name_of, passages
from genesys_engine.plugins.knowledge.embeddings import (
    DEFAULT,
    Embedding,
    check_name,
    open_embedding,
)
from genesys_engine.plugins.knowledge.fusion import fuse
from genesys_engine.plugins.knowledge.queries import Query

Mode = Literal["hybrid", "vector", "text"]
MODES: tuple[Mode, ...] = get_args(Mode)

BATCH = 256
"""Documents of one write: what a kill can cost."""
CANDIDATES = 100
"""Passages that each of the two rankings hands to the fusion."""
Ranking = dict[str, float]
"""Passage -> score, best first."""
VECTOR_WEIGHT = 0.5
"""Of the vectors' ranking against 1 for the words'; measured in experiments/bench/retrieval.py."""
COLUMNS = [
    *("passage", "document", "source", "title", "body"),
    *("year", "authors", "arxiv", "url", "unit", "tags"),
]


@dataclass(frozen=True)
class Added:
    """The result of `add`, in documents."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: Added) -> Added:
        return Added(
            self.new + other.new, self.updated + other.updated, self.unchanged + other.unchanged
        )


@dataclass(frozen=True)
class Hit:
    """A document that was found: its best passage and its place (1 is best).

    `score` orders the hits of one search only: a fused reciprocal rank (hybrid), a cosine
    similarity (vector), or BM25 (text).
    """

    rank: int
    score: float
    id: str
    source: str
    title: str
    passage: str
    year: int | None
    authors: tuple[str, ...]
    arxiv: str
    url: str
    unit: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One document as `list` shows it."""

    id: str
    source: str
    title: str
    year: int | None
    passages: int


@dataclass(frozen=True)
class Stats:
    """The content of a base; `bytes` is the size of its files."""

    documents: int
    passages: int
    sources: Mapping[str, int]
    embedding: str
    dimension: int
    format: int
    bytes: int


class KnowledgeBase:
    """Opens the base in `folder`, creating it if necessary.

    Args:
        folder: where it is; several processes may use it at once.
        embedding: a name (see `embeddings`) or an embedding; None takes the one that the base
            was made with, `hashed` for a new one.

    Raises:
        InputError: the base was made with another embedding, is newer, or is damaged.
        EnvironmentProblem: the folder cannot be written.
    """

    def __init__(self, folder: Path, embedding: Embedding | str | None = None) -> None:
        self.folder = folder
        self._given = None if isinstance(embedding, str) else embedding
        asked = embedding if embedding is not None else DEFAULT
        self._table, self.facts = tables.open_table(folder, asked)
        if embedding is not None:
            name = check_name(embedding) if isinstance(embedding, str) else embedding.name
            self._compare(name, None if self._given is None else self._given.dimension)

    @cached_property
    def embedding(self) -> Embedding:
        """The base's embedding, loaded when first used."""
        return self._given or open_embedding(self.facts.embedding)

    # --- adding ------------------------------------------------------------------------------

    def add(
        self, documents: Iterable[Document], progress: Callable[[Added], None] = lambda added: None
    ) -> Added:
        """Add documents; one that is there unchanged costs nothing, a changed one replaces it.

        Documents are written `BATCH` at a time, and `progress` is called after each: whatever
        ends the process, what was reported is there, and adding again continues after it.
        """
        total = Added()
        rest = iter(documents)
        while batch := list(islice(rest, BATCH)):
            total += self._add_batch({document.id: document for document in batch})
            progress(total)
        if total.new or total.updated or not self._table.list_indices():
            with tables.lock(self.folder):
                tables.tidy(self._table)
        return total

    def _add_batch(self, batch: Mapping[str, Document]) -> Added:
        fresh = self._fresh(batch)
        rows = self._rows([batch[name] for name in fresh])
        if not rows:
            return Added(unchanged=len(batch))
        with tables.lock(self.folder):
            # Another process may have added the same meanwhile; it then counts as there.
            fresh = self._fresh(batch)
            rows = [row for row in rows if row["document"] in fresh]
            if rows:
                self._write(rows, fresh)
        updated = sum(fresh.values())
        return Added(len(fresh) - updated, updated, len(batch) - len(fresh))

    def _write(self, rows: Sequence[Mapping[str, Any]], fresh: Iterable[str]) -> None:
        """Replace all passages of the documents `fresh`, in one version of the table."""
        import pyarrow as pa

        data = pa.Table.from_pylist(list(rows), schema=self._table.schema)
        merge = self._table.merge_insert("passage")
        merge = merge.when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(_among("document", fresh)).execute(data)

    def _fresh(self, batch: Mapping[str, Document]) -> dict[str, bool]:
        """Return the documents to write -> whether an older version of them is there."""
        query = self._table.search().where(_among("document", batch))
        found = query.select(["document", "digest"]).limit(None).to_arrow().to_pylist()
        there = {row["document"]: row["digest"] for row in found}
        return {
            name: name in there
            for name, document in batch.items()
            if there.get(name) != document.digest
        }

    def _rows(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Return the rows of documents, embedded."""
        rows: list[dict[str, Any]] = []
        for document in documents:
            texts = passages(document)
            common = {
                "document": document.id,
                "parts": len(texts),
                "digest": document.digest,
                "source": document.source,
                "title": clean(document.title),
                "year": document.year,
                "authors": [clean(author) for author in document.authors],
                "arxiv": document.arxiv,
                "url": document.url,
                "unit": document.unit,
                "tags": list(document.tags),
                "names": list(document.names),
            }
            for part, body in enumerate(texts):
                about = {"passage": f"{document.id}#{part}", "part": part, "body": body}
                rows.append({**common, **about})
        if rows:
            vectors = self._embed([row["body"] for row in rows])
            for row, vector in zip(rows, vectors, strict=True):
                row["vector"] = vector
        return rows

    def _embed(self, texts: Sequence[str]) -> Any:
        vectors = self.embedding.embed(texts)
        self._compare(self.embedding.name, vectors.shape[1])
        return vectors

    def _compare(self, name: str, dimension: int | None) -> None:
        facts = self.facts
        if name != facts.embedding or dimension not in (None, facts.dimension):
            mine = f"{facts.embedding} ({facts.dimension} numbers)"
            other = name if dimension is None else f"{name} ({dimension} numbers)"
            raise InputError(
                f"the base was made with the embedding {mine}, not with {other}",
                where=str(self.folder),
                hint="leave --embedding away, or give another --base; nothing was changed",
            )

    # --- asking ------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        limit: int = 10,
        *,
        mode: Mode = "hybrid",
        sources: Iterable[str] | None = None,
    ) -> list[Hit]:
        """Return the documents nearest to `query`, best first.

        A paper that several sources hold is one hit.  `query` is plain text; what holds its
        phrases, in quotation marks, comes before what holds their words alone.

        Args:
            mode: `vector` ranks by meaning (exact cosine), `text` by words (BM25), `hybrid`
                fuses both by reciprocal rank (Cormack et al. 2009) and puts first what is called
                exactly that.
            sources: only documents of these sources.
        """
        query = clean(query).strip()
        if not query or limit < 1:
            return []
        count = max(CANDIDATES, 4 * limit)  # several passages may be of one document
        where = None if sources is None else _among("source", sources)
        best: list[tuple[str, float]] = []
        for condition in Query.read(query).conditions("body"):
            allowed = " AND ".join(filter(None, (where, condition))) or None
            best = _behind(best, self._best(query, mode, count, allowed))
        if mode == "hybrid":
            best = _first(self._called(query, where), best)
        return self._hits(best, limit)

    def _best(
        self, query: str, mode: Mode, count: int, where: str | None
    ) -> list[tuple[str, float]]:
        """Return (passage, score), best first, of the passages where `where` is true."""
        if mode != "hybrid":
            return list(self._ranked(query, mode, count, where).items())
        words = self._ranked(query, "text", count, where)
        vectors = self._ranked(query, "vector", count, where)
        return fuse([list(words), list(vectors)], (1.0, VECTOR_WEIGHT))

    def _ranked(self, query: str, mode: str, count: int, where: str | None) -> Ranking:
        """Return passage -> score, best first."""
        if mode == "text":
            from lancedb.query import MatchQuery

            score = "_score"
            # Not the bare string: LanceDB reads one in quotation marks as another kind of query.
            search = self._table.search(MatchQuery(query, "body"), query_type="fts")
        else:
            score = "_distance"
            vector = self._embed([query])[0]
            search = self._table.search(vector, query_type="vector").distance_type("cosine")
        if where is not None:
            search = search.where(where, prefilter=True)
        rows = search.limit(count).select(["passage", score]).to_arrow().to_pylist()
        sign, start = (1.0, 0.0) if mode == "text" else (-1.0, 1.0)  # cosine = 1 - distance
        found: Ranking = {row["passage"]: start + sign * row[score] for row in rows}
        # Equal scores come in any order; a decision needs always the same.
        return {name: found[name] for name in sorted(found, key=lambda n: (-found[n], n))}

    def _called(self, query: str, where: str | None) -> list[str]:
        """Return the passages of the documents whose name is `query`, the first of each."""
        name = name_of(query)
        if not name:
            return []
        named = f"part = 0 AND array_has(names, '{name}')"  # letters and digits only
        search = self._table.search().where(named if where is None else f"{named} AND {where}")
        rows = search.select(["passage"]).limit(CANDIDATES).to_arrow().to_pylist()
        return sorted(row["passage"] for row in rows)

    def _hits(self, best: Sequence[tuple[str, float]], limit: int) -> list[Hit]:
        """Return one hit per paper from passages, which are sorted best first."""
        hits: list[Hit] = []
        seen: set[str] = set()
        for start in range(0, len(best), limit):
            some = dict(best[start : start + limit])
            query = self._table.search().where(_among("passage", some)).limit(None)
            rows = {r["passage"]: r for r in query.select(COLUMNS).to_arrow().to_pylist()}
            for name, score in some.items():
                row = rows.get(name)  # None: another process has just replaced it
                if row is None:
                    continue
                names = {row["document"], f"arxiv:{row['arxiv'] or name}"}
                if not names & seen:
                    hits.append(_hit(len(hits) + 1, score, row))
                seen |= names
                if len(hits) == limit:
                    return hits
        return hits

    def documents(self, source: str | None = None) -> Iterator[Entry]:
        """Yield the documents, by source and id."""
        where = "part = 0" if source is None else f"part = 0 AND {_among('source', [source])}"
        columns = ["document", "source", "title", "year", "parts"]
        rows = self._table.search().where(where).select(columns).limit(None).to_arrow().to_pylist()
        for row in sorted(rows, key=lambda row: (row["source"], row["document"])):
            yield Entry(row["document"], row["source"], row["title"], row["year"], row["parts"])

    def digest(self) -> str:
        """Return the SHA-256 of the content: equal for equal documents in any order."""
        columns = ["document", "digest"]
        rows = self._table.search().where("part = 0").select(columns).limit(None).to_arrow()
        lines = sorted(f"{row['document']} {row['digest']}" for row in rows.to_pylist())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def stats(self) -> Stats:
        """Return counts and sizes."""
        rows = self._table.search().where("part = 0").select(["source"]).limit(None).to_arrow()
        sources = Counter(row["source"] for row in rows.to_pylist())
        return Stats(
            documents=sum(sources.values()),
            passages=self._table.count_rows(),
            sources=dict(sorted(sources.items())),
            embedding=self.facts.embedding,
            dimension=self.facts.dimension,
            format=self.facts.format,
            bytes=tables.folder_bytes(self.folder),
        )


def _hit(rank: int, score: float, row: Mapping[str, Any]) -> Hit:
    about = {key: row[key] for key in ("source", "title", "year", "arxiv", "url", "unit")}
    return Hit(
        rank=rank,
        score=score,
        id=row["document"],
        passage=row["body"],
        authors=tuple(row["authors"] or ()),
        tags=tuple(row["tags"] or ()),
        **about,
    )


def _first(named: Sequence[str], best: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the ranking with the passages of `named` documents in front, in their order there.

    Of each, its best passage stands there; the scores in front are higher by one.
    """
    documents = {passage.rpartition("#")[0]: passage for passage in named}
    found = [entry for entry in best if entry[0].rpartition("#")[0] in documents]
    missing = set(documents) - {passage.rpartition("#")[0] for passage, _ in found}
    front = [*found, *((documents[name], 0.0) for name in sorted(missing))]
    rest = [entry for entry in best if entry not in found]
    return [*((passage, 1.0 + score) for passage, score in front), *rest]


def _behind(
    front: Sequence[tuple[str, float]], rest: Sequence[tuple[str, float]]
) -> list[tuple[str, float]]:
    """Return a ranking with what only `rest` has behind `front`, whose scores become higher."""
    if not front:
        return list(rest)
    seen, highest = dict(front), max((score for _, score in rest), default=0.0)
    raised = [(passage, score + max(0.0, highest)) for passage, score in front]
    return [*raised, *(entry for entry in rest if entry[0] not in seen)]


def _among(column: str, values: Iterable[str]) -> str:
    """Return the SQL condition that `column` is one of `values`."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})" if quoted else "false"
