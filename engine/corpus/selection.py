"""Which documents are used, and which of them are held out: decided by content alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from genesys_engine.engine.corpus.sources import Source
from genesys_engine.gab.errors import InputError

FEW_DOCUMENTS = 40
PIECE_BYTES = 16_384
HELDOUT_DOCUMENTS = 2  # the wrong choices of an item come from another document


@dataclass(frozen=True)
class Selection:
    """Documents of a source by split; texts are read again at every pass, never all held.

    `splits` maps the SHA-256 of a document to (split, bytes).
    """

    source: Source
    in_pieces: bool
    splits: dict[bytes, tuple[str, int]]

    def texts(self, split: str) -> Iterator[str]:
        """Yield the documents of `train` or `heldout` in the order of the source, each once."""
        seen: set[bytes] = set()
        for text in _documents(self.source, self.in_pieces):
            digest = _digest(text)
            if digest not in seen and self.splits.get(digest, ("", 0))[0] == split:
                seen.add(digest)
                yield text

    def counts(self, split: str) -> dict[str, int]:
        """Return the number of documents and their bytes."""
        sizes = [size for name, size in self.splits.values() if name == split]
        return {"documents": len(sizes), "bytes": sum(sizes)}


def select(source: Source, max_bytes: int, heldout: float) -> Selection:
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
        raise InputError("the corpus holds no text", where=source.origin)
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
            f"the corpus is too small to hold documents out: {len(chosen)} documents of "
            f"{total:,} bytes",
            where=source.origin,
            hint=f"give more text ({10 * PIECE_BYTES:,} bytes or more) or raise max_bytes",
        )
    return Selection(source, in_pieces, splits)


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
