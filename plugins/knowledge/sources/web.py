"""Any search endpoint in the style of OpenAI's: a query is posted, results come as JSON.

Understood are the page of OpenAI's vector-store search ({"data": [{"filename", "score",
"content": [{"type": "text", "text"}]}]}) and the result list of LiteLLM's and Perplexity's
search ({"results": [{"title", "url", "snippet", "date"}]}).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document, encodable
from genesys_engine.plugins.knowledge.remote import Client, read_json
from genesys_engine.plugins.knowledge.sources.arxiv import arxiv_id
from genesys_engine.plugins.knowledge.sources.options import WebOptions


class WebSource:
    """Posts queries to one endpoint."""

    Options = WebOptions

    def __init__(self, options: WebOptions, *, cache: Path) -> None:
        self.options = options
        self._client = Client("web", options, cache, _rows)

    def fetch(self, place: str) -> Iterator[Document]:
        """Refuse: a search endpoint has no documents by name."""
        raise InputError(
            "a search endpoint can only be searched", where=f"web:{place}", hint="add a file"
        )
        yield

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return at most `limit` results in the endpoint's order.

        Raises:
            SourceUnavailable: the endpoint cannot be reached, or answers something else.
        """
        key = os.environ.get(self.options.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"query": query, self.options.limit_field: limit}
        answer = self._client.post(self.options.url, body, headers=headers)
        found = [_document(row) for row in self._client.read(answer) if isinstance(row, dict)]
        return [document for document in found if document is not None][:limit]


def _rows(text: str) -> list[Any]:
    """Return the results; raises ValueError where there are none."""
    reply = read_json(text)
    rows = reply.get("data", reply.get("results")) if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        raise ValueError("has neither `data` nor `results`")
    return rows


def _document(row: dict[str, Any]) -> Document | None:
    text = _text(row.get("content")) or _text(row.get("snippet"))
    url = row.get("url") if isinstance(row.get("url"), str) else ""
    title = row.get("title") or row.get("filename") or url or text[:80]
    if not isinstance(title, str) or not title:
        return None
    name = url or f"{row.get('file_id', '')} {text}"
    date = str(row.get("date") or "")[:4]
    return Document(
        id=f"web:{hashlib.sha256(encodable(name).encode()).hexdigest()[:16]}",
        title=title,
        text=text,
        source="web",
        year=int(date) if date.isdigit() else None,
        arxiv=arxiv_id(url or "") or "",
        url=url or "",
    )


def _text(content: Any) -> str:
    """Return the text of a string or of a list of {"type": "text", "text": ...}."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""
