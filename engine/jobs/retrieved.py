"""What a design task looked up in the knowledge base: a fact of it, which decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from genesys_engine.plugins.api import Document

RETRIEVED = "retrieved"
"""Key of the facts of a task: a `Retrieved` as JSON text."""


@dataclass(frozen=True)
class Found:
    """A document that was found: where it comes from, and its title."""

    id: str
    title: str
    source: str
    year: int | None = None
    url: str = ""

    @classmethod
    def of(cls, document: Document) -> Found:
        """Return what is kept of a document."""
        return cls(document.id, document.title, document.source, document.year, document.url)


@dataclass(frozen=True)
class Search:
    """One search: what was asked, and what was found, best first."""

    query: str
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Retrieved:
    """All searches of a design task, in order."""

    searches: tuple[Search, ...] = ()
