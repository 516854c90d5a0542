"""What an operator may look up: the knowledge base, what the run has tried, and its designs.

Each is opened when first asked, since LanceDB and an index take time; designers share them, one at
a time.
What a design may see of its run follows from its task, never from who finished first.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.config.schema import KnowledgeSection
from genesys_engine.engine.jobs.tasks import DesignTask
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.api import Document, History

if TYPE_CHECKING:
    from genesys_engine.engine.propose.attempts import RunMemory
    from genesys_engine.engine.propose.design_history import DesignHistories
    from genesys_engine.plugins.knowledge.base import Hit, KnowledgeBase

EMBEDDING = "hashed"
"""Of the cards' base: the same on every machine, since what is found enters decisions."""


class Lookup:
    """Answers the questions of designers.

    Args:
        section: which base, and how many passages.
        cache: folder for the base of the reference cards, which can be made again.
        run: folder of the run whose tries are reported; None tells none.
    """

    def __init__(self, section: KnowledgeSection, cache: Path, run: Path | None = None) -> None:
        self._section = section
        self._cache = cache
        self._run = run
        self._lock = threading.Lock()
        self._store: Store | None = None

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return passages near to `query`, best first, as documents of one passage each."""
        with self._lock:
            hits = self._base.search(query, min(limit, self._section.limit))
        return [_document(hit) for hit in hits]

    def tried(self, task: DesignTask) -> Callable[[str, int], Sequence[str]]:
        """Return what tells a design task what was tried near an idea."""

        def near(idea: str, limit: int) -> Sequence[str]:
            with self._lock:
                if self._run is None or task.known_before == 0:
                    return ()
                found = self._memory.near(
                    idea,
                    limit,
                    before=task.known_before,
                    before_verification=task.verified_before,
                    before_task=task.applied_before,
                )
            return [str(attempt) for attempt in found]

        return near

    def history(self, task: DesignTask) -> Callable[[int, int], History]:
        """Return what tells a design task the history of a design."""

        def known(design: int, limit: int) -> History:
            from genesys_engine.engine.propose.design_history import Sight

            with self._lock:
                if self._run is None:
                    return History()
                return self._histories.of(design, limit, Sight.of(task))

        return known

    def facts(self) -> dict[str, str]:
        """Return what a run records of the base, to tell on resume that it is another."""
        if not self._section.base:
            return {"base": "cards", "digest": cards_digest()}
        with self._lock:
            return {"base": "own", "digest": self._base.digest()}

    def close(self) -> None:
        """Close the files; safe to call twice."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    @cached_property
    def _base(self) -> KnowledgeBase:
        from genesys_engine.plugins.knowledge.base import KnowledgeBase
        from genesys_engine.plugins.knowledge.sources.library import LibrarySource

        if self._section.base:
            return KnowledgeBase(Path(self._section.base))
        base = KnowledgeBase(self._cache / f"cards-{cards_digest()[:12]}", EMBEDDING)
        base.add(card for card in LibrarySource().fetch("") if isinstance(card, Document))
        return base

    @cached_property
    def _memory(self) -> RunMemory:
        from genesys_engine.engine.propose.attempts import RunMemory

        return RunMemory(self._opened())

    @cached_property
    def _histories(self) -> DesignHistories:
        from genesys_engine.engine.propose.design_history import DesignHistories

        return DesignHistories(self._opened())

    def _opened(self) -> Store:
        """Return the store of the run, which both share."""
        if self._store is None:
            assert self._run is not None
            self._store = Store.open(self._run, shared=True)
        return self._store


def cards_digest() -> str:
    """Return the SHA-256 over the reference cards that come along."""
    from genesys_engine.plugins.knowledge.sources.library import CARDS

    digest = hashlib.sha256()
    for path in sorted(CARDS.glob("*.md")):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def _document(hit: Hit) -> Document:
    about = {key: getattr(hit, key) for key in ("source", "year", "authors", "arxiv", "url")}
    text = hit.passage.removeprefix(hit.title).strip()
    return Document(hit.id, hit.title, text, unit=hit.unit, tags=hit.tags, **about)
