"""Semantic Scholar's graph interface, by identifier and by search.

See https://api.semanticscholar.org/api-docs/graph.  An unknown identifier is answered with
status 404 and {"error": ...}.  A key in S2_API_KEY is sent along and never stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.queries import Query
from genesys_engine.plugins.knowledge.remote import Answer, Client, read_json
from genesys_engine.plugins.knowledge.sources.arxiv import arxiv_id
from genesys_engine.plugins.knowledge.sources.options import SemanticScholarOptions

FIELDS = "title,abstract,year,authors,externalIds,url,fieldsOfStudy"
KEY_VARIABLE = "S2_API_KEY"
MAX_RESULTS = 100  # results of one search


class SemanticScholarSource:
    """Asks Semantic Scholar, at most once in `interval_s`."""

    Options = SemanticScholarOptions

    def __init__(self, options: SemanticScholarOptions | None = None, *, cache: Path) -> None:
        self.options = options or SemanticScholarOptions()
        self._client = Client("semantic_scholar", self.options, cache, _object)

    def fetch(self, place: str) -> Iterator[Document]:
        """Yield the paper `place`: its own identifier, an arXiv identifier, DOI:... or another
        that the service knows.

        Raises:
            InputError: the paper is unknown.
            SourceUnavailable: the service cannot be reached.
        """
        arxiv = arxiv_id(place)
        name = f"ARXIV:{arxiv}" if arxiv else place
        url = f"{self.options.url}/paper/{quote(name, safe=':')}"
        answer = self._get(url, {"fields": FIELDS}, (200, 400, 404))
        if answer.status != 200:
            reason = _reason(answer) or "no such paper"
            raise InputError(reason, where=f"semantic_scholar:{place}")
        document = _document(self._client.read(answer))
        if document is None:
            raise InputError("the paper has no title", where=f"semantic_scholar:{place}")
        yield document

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return at most `limit` papers, the most relevant first.

        Words alone are sent: the service finds nothing for one with a hyphen in it.
        """
        words = " ".join(Query.read(query).words())
        if not words:
            return ()
        parameters = {"query": words, "limit": str(min(limit, MAX_RESULTS)), "fields": FIELDS}
        answer = self._get(f"{self.options.url}/paper/search", parameters, (200,))
        rows = self._client.read(answer).get("data") or []
        found = [_document(row) for row in rows if isinstance(row, dict)]
        return [document for document in found if document is not None][:limit]

    def _get(self, url: str, parameters: dict[str, str], expected: tuple[int, ...]) -> Answer:
        key = os.environ.get(KEY_VARIABLE, "")
        headers = {"x-api-key": key} if key else {}
        return self._client.get(url, parameters, headers=headers, expected=expected)


def _object(text: str) -> dict[str, Any]:
    """Return a paper or the results of a search; raises ValueError for anything else."""
    found = read_json(text)
    if not isinstance(found, dict) or not {"paperId", "data", "total"} & set(found):
        raise ValueError("is neither a paper nor the results of a search")
    return found


def _document(row: dict[str, Any]) -> Document | None:
    title, number = row.get("title"), row.get("paperId")
    if not isinstance(title, str) or not title or not isinstance(number, str):
        return None
    names = [author.get("name") for author in row.get("authors") or []]
    year = row.get("year")
    return Document(
        id=f"semantic_scholar:{number}",
        title=title,
        text=row.get("abstract") or "",
        source="semantic_scholar",
        year=year if isinstance(year, int) else None,
        authors=tuple(name for name in names if name),
        arxiv=str((row.get("externalIds") or {}).get("ArXiv") or ""),
        url=str(row.get("url") or ""),
        tags=tuple(row.get("fieldsOfStudy") or ()),
    )


def _reason(answer: Answer) -> str:
    try:
        reply = read_json(answer.text)
    except ValueError:
        return ""
    return str(reply.get("error") or reply.get("message") or "") if isinstance(reply, dict) else ""
