"""BibTeX files, read by bibtexparser: an entry is a document, its abstract and note the text."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.arxiv import arxiv_id
from genesys_engine.plugins.knowledge.sources.bibtex_values import Entry, Strings, with_inherited
from genesys_engine.plugins.knowledge.sources.tex import paragraphs, plain, verbatim

TEXT_FIELDS = ("abstract", "keywords", "note", "annote", "annotation")
PLACES = ("journal", "journaltitle", "booktitle")
ADDRESSES = ("url", "howpublished")  # data; all other fields that are read are typeset
OTHERS = frozenset({"others", "et al.", "et al"})

_DANGLING = re.compile(r"\s+and\s*$", re.I)
_LABELLED = re.compile(r"\b(family|given|prefix|suffix)\s*=\s*([^,]+)")
_YEAR = re.compile(r"\b(1[89]|20)\d\d\b")
_ARXIV = re.compile(r"arXiv[:.]\s*(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})", re.I)
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\S+)", re.I)


def read(path: Path) -> Iterator[Document | InputError]:
    """Yield one document per entry; a broken entry is an error with its line."""
    import bibtexparser

    logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)  # reported below
    text = path.read_text(encoding="utf-8-sig")
    parsed = bibtexparser.parse_string(text, parse_stack=[])  # values as they were written
    found: list[Any] = list(parsed.entries)
    broken: list[Any] = []
    for block in parsed.failed_blocks:
        # A field that is there twice breaks no entry: as with BibTeX, the first counts.
        twice = isinstance(block, bibtexparser.model.DuplicateFieldKeyBlock)
        (found if twice else broken).append(block.ignore_error_block if twice else block)
    for block in broken:
        reason = " ".join(str(getattr(block.error, "abort_reason", block.error)).split())
        yield InputError(
            f"broken entry left out: {reason}", where=f"{path}:{(block.start_line or 0) + 1}"
        )
    strings = Strings({string.key: string.value for string in parsed.strings})
    entries = [_entry(block, strings) for block in sorted(found, key=lambda b: b.start_line or 0)]
    by_key = {entry.key.lower(): entry for entry in reversed(entries)}
    for entry in entries:
        fields = with_inherited(entry, by_key)
        if plain(fields.get("title", "")):
            yield _document(path, entry.key, fields)
        elif entry.kind != "xdata":  # which only lends its fields to others
            yield InputError(f"the entry {entry.key!r} has no title", where=f"{path}:{entry.line}")


def _entry(block: Any, strings: Strings) -> Entry:
    fields: dict[str, str] = {}
    for field in block.fields:
        for name, value in strings.fields(field.key, field.value):
            fields.setdefault(name, value)
    return Entry(block.entry_type.lower(), block.key, (block.start_line or 0) + 1, fields)


def _document(path: Path, key: str, fields: Mapping[str, str]) -> Document:
    year = _YEAR.search(f"{fields.get('year', '')} {fields.get('date', '')}")
    body = [paragraphs(fields[name]) for name in TEXT_FIELDS if fields.get(name)]
    about = [plain(fields[name]) for name in PLACES if fields.get(name)]
    return Document(
        id=f"file:{path.resolve()}#{key}",
        title=plain(fields["title"]),
        text="\n\n".join(dict.fromkeys(filter(None, [*body, *about]))),
        source="folder",
        year=int(year[0]) if year else None,
        authors=tuple(_authors(fields.get("author", ""))),
        arxiv=_arxiv(fields),
        url=_address(fields),
    )


def _address(fields: Mapping[str, str]) -> str:
    """Return the address of the paper, or that of its DOI."""
    for name in ADDRESSES:
        # Some exporters put several into one field.
        address = verbatim(fields.get(name, "")).split(" http")[0]
        if (name == "url" and address) or address.startswith(("http://", "https://")):
            return address
    doi = _DOI.fullmatch(verbatim(fields.get("doi", "")))
    return f"https://doi.org/{quote(doi[1], safe='/:;()._-')}" if doi else ""


def _arxiv(fields: Mapping[str, str]) -> str:
    """Return the identifier at arXiv from wherever an exporter puts it."""
    for written in (verbatim(fields.get("eprint", "")), *verbatim(fields.get("url", "")).split()):
        if known := arxiv_id(written):
            return known
    for name in ("doi", "note", "journal", "howpublished"):
        if match := _ARXIV.search(verbatim(fields.get(name, ""))):
            return match[1]
    return ""


def _authors(names: str) -> Iterator[str]:
    """Yield each of `Last, First and First Last and {A Group and Friends} and others`."""
    from bibtexparser.middlewares.names import (
        parse_single_name_into_parts,
        split_multiple_persons_names,
    )

    for name in split_multiple_persons_names(_DANGLING.sub("", names)):
        labelled = dict(_LABELLED.findall(name))
        if "family" in labelled:  # biblatex: family=..., given=..., prefix=...
            order = ("given", "prefix", "family", "suffix")
            found = plain(" ".join(labelled[label] for label in order if label in labelled))
        else:
            parts = parse_single_name_into_parts(name, strict=False)
            found = plain(parts.merge_first_name_first)
        if found and found.lower() not in OTHERS:
            yield found
