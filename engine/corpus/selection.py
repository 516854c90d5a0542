"""Which documents are used, and which of them are held out: decided by content alone.

Up to RANKED_BYTES of text the documents are ranked by hash, and equal ones count once.  Of more
text nothing is held: the hash of a document alone says on which side it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from genesys_engine.engine.common.text import plural
from genesys_engine.engine.corpus.files import PIECE_BYTES, Source
from genesys_engine.gab.errors import InputError

FEW_DOCUMENTS = 40
HELDOUT_DOCUMENTS = 2  # the wrong choices of an item come from another document
RANKED_BYTES = 2 << 30


class Selection(Protocol):
    """Documents of a source by split; texts are read again at every pass, never all held."""

    @property
    def expected_bytes(self) -> int:
        """How much text there will be, for the progress."""

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield (`train` or `heldout`, text) in the order of the source."""

    def texts(self, split: str) -> Iterator[str]:
        """Yield the documents of one split in the order of the source."""


def select(source: Source, max_bytes: int, heldout: float) -> Selection:
    """Choose documents up to `max_bytes` and hold out the share `heldout` of their bytes.

    Raises:
        InputError: no text, or too few documents to hold some out.
    """
    size = source.text_bytes()
    if size is None or size > RANKED_BYTES:
        return Threshold(source, max_bytes, heldout)
    return rank(source, max_bytes, heldout)


@dataclass(frozen=True)
class Ranked:
    """`splits` maps the SHA-256 of a document to (split, bytes)."""

    source: Source
    in_pieces: bool
    splits: dict[bytes, tuple[str, int]]

    @property
    def expected_bytes(self) -> int:
        """Return the bytes of the chosen documents."""
        return sum(size for _, size in self.splits.values())

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield every chosen document once."""
        seen: set[bytes] = set()
        for text in _documents(self.source, self.in_pieces):
            digest = _digest(text)
            if digest in self.splits and digest not in seen:
                seen.add(digest)
                yield self.splits[digest][0], text

    def texts(self, split: str) -> Iterator[str]:
        """Yield the documents of one split."""
        return (text for found, text in self.documents() if found == split)


@dataclass(frozen=True)
class Threshold:
    """The first documents of a large source; one whose hash is below `heldout` is held out.

    Equal documents have equal hashes: none can stand on both sides.
    """

    source: Source
    max_bytes: int
    heldout: float

    @property
    def expected_bytes(self) -> int:
        """Return the most that is taken, or what there is."""
        return min(self.max_bytes, self.source.text_bytes() or self.max_bytes)

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield documents until one would exceed `max_bytes`."""
        total = 0
        for text in self.source.small_documents():
            total += len(text.encode())
            if total > self.max_bytes:
                return
            if text.strip():
                place = int.from_bytes(_digest(text)[:8], "big") / 2**64
                yield ("heldout" if place < self.heldout else "train"), text

    def texts(self, split: str) -> Iterator[str]:
        """Yield the documents of one split."""
        return (text for found, text in self.documents() if found == split)


def rank(source: Source, max_bytes: int, heldout: float) -> Ranked:
    """Choose documents up to `max_bytes` and hold out the share `heldout` of their bytes.

    Documents are ranked by the hash of their text.  Equal documents count once, so none can
    stand on both sides.  A corpus of few documents (a book in one file) is cut at line ends
    into pieces, which are then its documents.

    Raises:
        InputError: no text, or too few documents to hold some out.
    """
    sizes = _sizes(_documents(source, in_pieces=False))
    in_pieces = len(sizes) < FEW_DOCUMENTS
    if in_pieces:
        sizes = _sizes(_documents(source, in_pieces=True))
    if not sizes:
        raise InputError("the corpus has no text", where=source.origin)
    chosen = _smallest_hashes(sizes, max_bytes)
    total = sum(sizes[digest] for digest in chosen)
    target = heldout * total
    splits = {}
    held = 0
    for rank, digest in enumerate(chosen):
        is_held = held < target or rank < HELDOUT_DOCUMENTS
        held += sizes[digest] if is_held else 0
        splits[digest] = ("heldout" if is_held else "train", sizes[digest])
    if held > max(0.5, heldout + 0.2) * total:
        raise InputError(
            f"the corpus is too small to hold documents out: "
            f"{plural(len(chosen), 'document')} of {plural(total, 'byte')}",
            where=source.origin,
            hint=f"give more text ({10 * PIECE_BYTES:,} bytes or more) or raise max_bytes",
        )
    return Ranked(source, in_pieces, splits)


def _documents(source: Source, in_pieces: bool) -> Iterator[str]:
    """Yield the non-empty documents of the source, whole or in pieces."""
    for text in source.documents():
        for part in _pieces(text) if in_pieces else (text,):
            if part.strip():
                yield part


def _pieces(text: str) -> Iterator[str]:
    """Cut a text at line ends into pieces of about PIECE_BYTES."""
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line.encode())
        if size >= PIECE_BYTES:
            yield "".join(lines)
            lines, size = [], 0
    yield "".join(lines)


def _sizes(texts: Iterator[str]) -> dict[bytes, int]:
    """Return bytes by SHA-256 of the text."""
    return {_digest(text): len(text.encode()) for text in texts}


def _smallest_hashes(sizes: dict[bytes, int], max_bytes: int) -> list[bytes]:
    """Return documents in the order of their hash until `max_bytes` are reached."""
    chosen: list[bytes] = []
    total = 0
    for digest in sorted(sizes):
        if total + sizes[digest] <= max_bytes:
            chosen.append(digest)
            total += sizes[digest]
    return chosen


def _digest(text: str) -> bytes:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()
