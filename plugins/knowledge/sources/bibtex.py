"""BibTeX files, read by bibtexparser: an entry is a document, its abstract and note the text."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.arxiv import arxiv_id

TEXT_FIELDS = ("abstract", "keywords", "note", "annote")


def read(path: Path) -> Iterator[Document | InputError]:
    """Yield one document per entry; a broken entry is an error with its line, the rest goes on."""
    import bibtexparser
    from bibtexparser.middlewares import LatexDecodingMiddleware

    logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)  # broken entries are told below
    text = path.read_text(encoding="utf-8-sig")
    parsed = bibtexparser.parse_string(text, append_middleware=[LatexDecodingMiddleware()])
    for block in parsed.failed_blocks:
        reason = " ".join(str(getattr(block.error, "abort_reason", block.error)).split())
        yield InputError(
            f"broken entry left out: {reason}", where=f"{path}:{(block.start_line or 0) + 1}"
        )
    for entry in parsed.entries:
        fields = {name.lower(): str(f.value).strip() for name, f in entry.fields_dict.items()}
        if not fields.get("title"):
            where = f"{path}:{(entry.start_line or 0) + 1}"
            yield InputError(f"the entry {entry.key!r} has no title", where=where)
            continue
        yield _document(path, entry.key, fields)


def _document(path: Path, key: str, fields: dict[str, Any]) -> Document:
    year = re.search(r"\b(1[89]|20)\d\d\b", fields.get("year", "") or fields.get("date", ""))
    arxiv = arxiv_id(fields.get("eprint", "")) or arxiv_id(fields.get("url", "")) or ""
    about = [fields[name] for name in ("journal", "booktitle") if fields.get(name)]
    body = [fields[name] for name in TEXT_FIELDS if fields.get(name)]
    return Document(
        id=f"file:{path.resolve()}#{key}",
        title=" ".join(fields["title"].split()),
        text="\n\n".join([*body, *about]),
        source="folder",
        year=int(year[0]) if year else None,
        authors=tuple(name.strip() for name in _authors(fields.get("author", ""))),
        arxiv=arxiv,
        url=fields.get("url", "")
        or (f"https://doi.org/{fields['doi']}" if "doi" in fields else ""),
    )


def _authors(names: str) -> list[str]:
    """Return "First Last" for each of `Last, First and First Last`."""
    found = []
    for name in re.split(r"\s+and\s+", " ".join(names.split())):
        last, comma, first = name.partition(",")
        found.append(f"{first.strip()} {last.strip()}" if comma else name)
    return [name for name in found if name]
