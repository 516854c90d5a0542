"""The base and the live sources together.

An unreachable source is reported once and skipped from then on: searches use the base and the other
sources.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genesys_engine.gab.errors import GenesysError, InputError, PluginError
from genesys_engine.plugins.api import KnowledgeSource
from genesys_engine.plugins.knowledge.base import Added, Hit, KnowledgeBase
from genesys_engine.plugins.knowledge.documents import Document, clean, passages
from genesys_engine.plugins.knowledge.fusion import fuse
from genesys_engine.plugins.knowledge.remote import SourceUnavailable

Progress = Callable[[int, float | None], None]

FOLDER_VARIABLE = "GENESYS_KNOWLEDGE"


def default_folder() -> Path:
    """Return the folder of this user's base; `GENESYS_KNOWLEDGE` moves it."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("genesys-engine")) / "knowledge"


@dataclass(frozen=True)
class Report:
    """The result of adding one place; `problems` could not be used and are not in the base.

    `failure` is what ended it; None where all that is at the place was read.
    """

    added: Added
    problems: tuple[InputError, ...]
    failure: GenesysError | None = None


class Knowledge:
    """Adds from sources, and searches the base and live sources.

    Args:
        base: the knowledge base.
        open_source: makes a source by its registered name; it raises `PluginError`.
        note: called with one line for the user.
    """

    def __init__(
        self,
        base: KnowledgeBase,
        open_source: Callable[[str], KnowledgeSource],
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.base = base
        self._open = open_source
        self._note = note
        self._sources: dict[str, KnowledgeSource] = {}
        self._unreachable: set[str] = set()

    def add(self, source: str, place: str, progress: Progress = lambda read, share: None) -> Report:
        """Add what `source` holds at `place`; each problem is reported as it is met.

        `progress` gets, after each document, how many are read, and which part of the place
        (0 to 1) that is where the source knows.  A source that is unknown, cannot be reached or
        has nothing there is the report's failure: what it gave before is added.
        """
        problems: list[InputError] = []
        failures: list[GenesysError] = []

        def usable() -> Iterator[Document]:
            read = 0
            try:
                reader = self._source(source)
                for one in reader.fetch(place):
                    if isinstance(one, Document):
                        yield one
                        read += 1
                        progress(read, getattr(reader, "share", None))
                    else:
                        problems.append(one)
                        self._note(str(one))
            except (InputError, PluginError, SourceUnavailable) as error:
                failures.append(error)

        added = self.base.add(usable())
        return Report(added, tuple(problems), failures[0] if failures else None)

    def search(self, query: str, limit: int = 10, live: Sequence[str] = ()) -> list[Hit]:
        """Return what the base and the sources `live` find, fused by reciprocal rank.

        What a live source finds is added to the base: it is known from then on.
        """
        rankings = [self.base.search(query, limit)]
        for name in live:
            found = self._ask(name, query, limit)
            self.base.add(found)
            rankings.append([_hit(rank, one) for rank, one in enumerate(found, 1)])
        return rankings[0] if len(rankings) == 1 else _merge(rankings, limit)

    def _ask(self, name: str, query: str, limit: int) -> Sequence[Document]:
        if name in self._unreachable:
            return ()
        try:
            return self._source(name).search(query, limit)
        except SourceUnavailable as error:
            self._unreachable.add(name)
            self._note(f"{error}\n  it is left out from now on")
            return ()

    def _source(self, name: str) -> KnowledgeSource:
        if name not in self._sources:
            self._sources[name] = self._open(name)
        return self._sources[name]


def _merge(rankings: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """Return the hits of several rankings in one; the same paper of two sources is one hit."""
    named = [
        {f"arxiv:{hit.arxiv}" if hit.arxiv else hit.id: hit for hit in ranking}
        for ranking in rankings
    ]
    best = fuse([list(ranking) for ranking in named])[:limit]
    hits = {name: hit for ranking in reversed(named) for name, hit in ranking.items()}
    return [replace(hits[name], rank=i, score=score) for i, (name, score) in enumerate(best, 1)]


def _hit(rank: int, document: Document) -> Hit:
    return Hit(
        rank=rank,
        score=0.0,
        id=document.id,
        source=document.source,
        title=clean(document.title),
        passage=passages(document)[0],
        year=document.year,
        authors=tuple(map(clean, document.authors)),
        arxiv=document.arxiv,
        url=document.url,
        unit=document.unit,
        tags=document.tags,
    )
