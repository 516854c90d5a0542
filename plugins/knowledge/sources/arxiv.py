"""arXiv's public interface (Atom), by identifier and by search.

See https://info.arxiv.org/help/api/user-manual.html: an unknown identifier is answered with an
empty feed, a malformed one with an entry whose title is "Error" (status 400, or 200), and who asks
too often with the words "Rate exceeded.".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.queries import Query
from genesys_engine.plugins.knowledge.remote import Client
from genesys_engine.plugins.knowledge.sources.options import ArxivOptions

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ATOM = {"a": "http://www.w3.org/2005/Atom", "arxiv": "http://arxiv.org/schemas/atom"}
ID = re.compile(r"(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(v\d+)?(?:\.pdf)?/?$")
MOST_TERMS = 12  # a query of whole paragraphs is refused


def arxiv_id(text: str) -> str | None:
    """Return the identifier at the end of `text` (itself, arXiv:..., or an address), without
    its version; None if there is none."""
    text = text.strip()
    match = ID.search(text)
    if match is None:
        return None
    prefix = text[: match.start()].lower()
    return match[1] if prefix in ("", "arxiv:") or "arxiv.org/" in prefix else None


class ArxivSource:
    """Asks arXiv, at most once in `interval_s`."""

    Options = ArxivOptions

    def __init__(self, options: ArxivOptions | None = None, *, cache: Path) -> None:
        self.options = options or ArxivOptions()
        self._client = Client("arxiv", self.options, cache, _feed)

    def fetch(self, place: str) -> Iterator[Document]:
        """Yield the paper with the identifier `place`.

        Raises:
            InputError: the identifier is malformed or unknown.
            SourceUnavailable: arXiv cannot be reached.
        """
        known = arxiv_id(place)
        if known is None:
            raise InputError(
                "is not an arXiv identifier",
                where=f"arxiv:{place}",
                hint="write it like 2405.21060 or cs/0112017",
            )
        found = self._ask({"id_list": known, "max_results": "1"}, f"arxiv:{place}")
        if not found:
            raise InputError("arXiv knows no such paper", where=f"arxiv:{place}")
        yield from found

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return at most `limit` papers with the words and phrases of `query`, best first."""
        terms = [term for term in Query.read(query).terms() if term][:MOST_TERMS]
        quoted = (f'"{" ".join(term)}"' if len(term) > 1 else term[0] for term in terms)
        words = " AND ".join(f"all:{term}" for term in quoted)
        if not words:
            return ()
        category = self.options.category
        asked = f"({words}) AND ({category})" if category else words
        parameters = {"search_query": asked, "start": "0", "max_results": str(limit)}
        return self._ask({**parameters, "sortBy": "relevance"}, "arxiv")[:limit]

    def _ask(self, parameters: dict[str, str], where: str) -> list[Document]:
        answer = self._client.get(self.options.url, parameters, expected=(200, 400))
        feed = self._client.read(answer)
        entries = feed.findall("a:entry", ATOM)
        for entry in entries:
            if "/api/errors" in _text(entry, "a:id"):
                raise InputError(f"arXiv refuses it: {_text(entry, 'a:summary')}", where=where)
        return [document for entry in entries if (document := _document(entry))]


def _feed(text: str) -> Element:
    """Return the feed; raises ValueError for anything else, such as "Rate exceeded."."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
        if root.tag == f"{{{ATOM['a']}}}feed":
            return root
        reason = f"it is <{root.tag}>"
    except ElementTree.ParseError as error:
        reason = str(error)
    begins = " ".join(text.split())[:60]
    raise ValueError(f"is not the expected XML: {begins!r} ({reason})")


def _document(entry: Element) -> Document | None:
    known = arxiv_id(_text(entry, "a:id"))
    title = _text(entry, "a:title")
    if known is None or not title:
        return None
    year = _text(entry, "a:published")[:4]
    return Document(
        id=f"arxiv:{known}",
        title=title,
        text=_text(entry, "a:summary"),
        source="arxiv",
        year=int(year) if year.isdigit() else None,
        authors=tuple(_text(author, "a:name") for author in entry.findall("a:author", ATOM)),
        arxiv=known,
        url=f"https://arxiv.org/abs/{known}",
        tags=tuple(c.get("term", "") for c in entry.findall("a:category", ATOM)),
    )


def _text(element: Element, path: str) -> str:
    """Return the text of a child on one line; the feed breaks lines within titles."""
    return " ".join((element.findtext(path, "", ATOM) or "").split())
