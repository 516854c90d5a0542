"""Your own files: Markdown, text, PDF, BibTeX and JSON lines, one file or a folder of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources import bibtex, jsonlines, pdf
from genesys_engine.plugins.knowledge.sources.options import FolderOptions
from genesys_engine.plugins.paths import exists, user_path

Found = Document | InputError

MEGABYTE = 1_000_000
HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.M)


class FolderSource:
    """Reads files in the order of their names; hidden files and folders are left alone."""

    Options = FolderOptions

    def __init__(self, options: FolderOptions | None = None, **_: Any) -> None:
        self.options = options or FolderOptions()
        self.share = 0.0

    def fetch(self, place: str) -> Iterator[Found]:
        """Yield the documents of a file or a folder; a file that cannot be used is an error
        among them, and the others continue.

        Raises:
            InputError: there is nothing at `place` that can be read.
        """
        path = user_path(place)
        if not exists(path):
            raise InputError("no such file or folder", where=place)
        if path.is_file():
            if reader_of(path) is None:
                raise InputError(f"cannot be read: none of {', '.join(KINDS)}", where=place)
            yield from self._all((path,))
            return
        files = [p for p in sorted(path.rglob("*")) if _visible(p.relative_to(path))]
        files = [p for p in files if p.is_file() and reader_of(p) is not None]
        if not files:
            raise InputError(f"no {', '.join(KINDS)} file in this folder", where=place)
        yield from self._all(files)

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return nothing: files are searched in the base."""
        return ()

    def _all(self, files: Sequence[Path]) -> Iterator[Found]:
        """Yield the documents of all files; `share` counts their bytes."""
        sizes = [_size(file) for file in files]
        before, whole = 0, max(1, sum(sizes))

        def at(position: int) -> None:
            self.share = (before + position) / whole

        for file, size in zip(files, sizes, strict=True):
            at(size if reader_of(file) in SINGLE else 0)
            yield from self._read(file, at)
            before += size

    def _read(self, path: Path, at: Callable[[int], None]) -> Iterator[Found]:
        reader = reader_of(path)
        assert reader is not None
        try:
            size, limit = path.stat().st_size, self.options.max_mb * MEGABYTE
            if reader is jsonlines.read:
                yield from jsonlines.read(path, int(self.options.max_line_mb * MEGABYTE), at)
            elif size > limit:
                raise InputError(
                    f"has {size / MEGABYTE:,.0f} MB, more than {self.options.max_mb:g} MB",
                    where=str(path),
                    hint="split it, or raise max_mb of the source `folder`",
                )
            else:
                yield from reader(path)
        except InputError as error:
            yield error
        except UnicodeDecodeError as error:
            yield InputError(
                f"is not UTF-8 text: {error.reason} at byte {error.start}",
                where=str(path),
                hint="convert it, for example with iconv",
            )
        except OSError as error:
            yield InputError(f"cannot be read: {error.strerror or error}", where=str(path))


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 where it cannot be looked at: reading it will say why."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _visible(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def _text(path: Path) -> Iterator[Document]:
    """Yield a text or Markdown file as one document, titled by its first heading or its name."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        raise InputError("is empty", where=str(path))
    heading = HEADING.search(text) if path.suffix.lower() != ".txt" else None
    title = heading[1] if heading else path.stem.replace("_", " ")
    yield Document(f"file:{path.resolve()}", title, text, "folder", url=path.resolve().as_uri())


KINDS: dict[str, Callable[..., Iterator[Found]]] = {
    ".md": _text,
    ".markdown": _text,
    ".txt": _text,
    ".pdf": pdf.read,
    ".bib": bibtex.read,
    ".jsonl": jsonlines.read,
    ".jsonl.gz": jsonlines.read,
}
"""How a file's name ends -> its reader."""
SINGLE = (_text, pdf.read)
"""Readers that make one document of a file."""


def reader_of(path: Path) -> Callable[..., Iterator[Found]] | None:
    """Return the reader of a file, or None for a kind that is not read."""
    name = path.name.lower()
    return next((reader for suffix, reader in KINDS.items() if name.endswith(suffix)), None)
