"""Where documents come from: files, read by the `datasets` library.

The digest of files is over their names and bytes and costs no import of `datasets`, so that a
corpus that is prepared already is found at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from genesys_engine.engine.corpus import rows
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.corpus import file_digest

PLAIN = (".txt", ".md")
SUFFIXES = (*PLAIN, *rows.SUFFIXES)
PIECE_BYTES = 16_384
# What is read of plain files: equal and too large documents are left out, so more than is wanted.
READ_TIMES = 4
READ_LEAST = 1_000_000
FEWEST_FILES = 40  # fewer documents would be cut into pieces
FAR_MORE = 3

# Not the library's own text, or not text: tests, installed packages, machine-made tables (the
# encodings are near copies of each other and would leak from training to held-out documents).
SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "dist-packages", "encodings", "idle_test", "site-packages", "test", "tests"}
)


class Source(Protocol):
    """Text from somewhere; `origin` says in one line where (for the manifest)."""

    @property
    def origin(self) -> str:
        """Where the text is from."""

    def digest(self) -> str:
        """Return a hex SHA-256 that names the content."""

    def text_bytes(self) -> int | None:
        """Return about how much text there is; None where only reading it would tell."""

    def documents(self) -> Iterator[str]:
        """Yield the text of every document, one pass."""

    def small_documents(self) -> Iterator[str]:
        """Yield the documents such that none is a whole book: nothing large is held."""

    @property
    def tally(self) -> rows.Tally:
        """What the newest pass has met in rows."""


@dataclass(frozen=True)
class Files:
    """Text, JSON-lines and parquet files, in a fixed order.

    `names` parallels `files` and says what a file is called in the digest.
    """

    origin: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    text_field: str = "text"
    tally: rows.Tally = field(default_factory=rows.Tally, compare=False, repr=False)

    def digest(self) -> str:
        """Return the hex SHA-256 over names and contents."""
        digest = hashlib.sha256()
        for name, path in zip(self.names, self.files, strict=True):
            digest.update(f"{name}\0{file_digest(path)}\n".encode())
        return digest.hexdigest()

    def text_bytes(self) -> int:
        """Return the size of the files."""
        return sum(path.stat().st_size for path in self.files)

    def limited(self, max_bytes: int) -> Files:
        """Return about as many of the files as `max_bytes` of text need, where there are far more.

        Which ones, the hash of their names and sizes decides: nothing is read.  Of rows nobody
        knows beforehand how much of them is text, so that a source with such files stays whole.
        """
        if any(path.suffix in rows.SUFFIXES for path in self.files):
            return self
        sizes = [path.stat().st_size for path in self.files]
        wanted = READ_TIMES * max_bytes + READ_LEAST
        if sum(sizes) <= FAR_MORE * wanted:
            return self
        order = sorted(range(len(sizes)), key=lambda i: _rank(self.names[i], sizes[i]))
        chosen: set[int] = set()
        total = 0
        for i in order:
            if total >= wanted and len(chosen) >= FEWEST_FILES:
                break
            chosen.add(i)
            total += sizes[i]
        kept = sorted(chosen)
        return replace(
            self,
            files=tuple(self.files[i] for i in kept),
            names=tuple(self.names[i] for i in kept),
        )

    def documents(self) -> Iterator[str]:
        """Yield the text of every document, one pass over the files.

        Raises:
            InputError: a file that is not UTF-8 text, a row with something else than text in the
                text field, or none with text there.
        """
        plain = [str(path) for path in self._plain_files()]
        with self._explained():
            if plain:
                yield from _plain(_whole_files(plain))
        yield from self._rows()

    def small_documents(self) -> Iterator[str]:
        """Yield the text in pieces of about PIECE_BYTES, but rows as they are."""
        with self._explained():
            for path in self._plain_files():
                yield from _plain(_file_pieces(path))
        yield from self._rows()

    def _rows(self) -> Iterator[str]:
        self.tally.restart()
        for suffix in rows.SUFFIXES:
            for path in (path for path in self.files if path.suffix == suffix):
                yield from rows.file_texts(path, self.text_field, self.tally)
        self.tally.require_text(self.text_field)

    def _plain_files(self) -> list[Path]:
        """Return the files of plain text; one with an unknown suffix was named, and is one."""
        return [path for path in self.files if path.suffix not in rows.SUFFIXES]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell file and place of what cannot be read: the library says neither."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise _explain(self, error) from error


def _rank(name: str, size: int) -> bytes:
    """Return what puts files in an order that has nothing to do with their names."""
    return hashlib.sha256(f"{name}\0{size}".encode()).digest()


def open_files(paths: Iterable[str], text_field: str) -> Files:
    """Return the files that paths, folders and glob patterns stand for.

    Raises:
        InputError: a path does not exist or holds no text file.
    """
    unique = tuple(dict.fromkeys(path for text in paths for path in _expand(text)))
    # Names are relative to nothing a machine decides: content and order are what counts.
    names = tuple(f"{i}{path.suffix}" for i, path in enumerate(unique))
    return Files(f"text: {', '.join(paths)}", unique, names, text_field)


def standard_library() -> Files:
    """Return the source files of the running Python's standard library, sorted by name."""
    root = Path(sysconfig.get_path("stdlib"))
    found = {}
    for path in root.rglob("*.py"):
        name = path.relative_to(root)
        machine_made = name.name.startswith("_sysconfigdata") or name.parts[0].startswith("config-")
        if not machine_made and not SKIPPED_FOLDERS.intersection(name.parts):
            found[name.as_posix()] = path
    if not found:
        raise InputError(
            "this Python has no source files of its standard library",
            where="corpus.use",
            hint='name your own files: use = "text" and paths = [...]',
        )
    names = tuple(sorted(found))
    version = ".".join(map(str, sys.version_info[:3]))
    return Files(f"Python {version} standard library", tuple(found[name] for name in names), names)


def _expand(text: str) -> list[Path]:
    """Return the files that one path, folder or glob pattern stands for, sorted."""
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not inside:
            raise InputError(
                f"no {', '.join(SUFFIXES)} file in this folder", where=text, hint="name the files"
            )
        return inside
    pattern = path.relative_to(path.anchor).as_posix()
    try:
        matches = sorted(p for p in Path(path.anchor).glob(pattern) if p.is_file())
    except (ValueError, NotImplementedError) as error:
        hint = 'check corpus.paths; "**" must stand alone, as in "data/**/*.txt"'
        raise InputError(f"invalid pattern: {error}", where=text, hint=hint) from error
    if not matches:
        raise InputError("no such file or folder", where=text, hint="check corpus.paths")
    return matches


def _whole_files(files: list[str]) -> Iterator[str]:
    """Read whole files with the packaged builder of `datasets`, without its Arrow cache."""
    import datasets

    stream = datasets.load_dataset(
        "text",
        data_files={"train": files},
        split="train",
        streaming=True,
        sample_by="document",
        encoding="utf-8-sig",
    )
    for row in stream:
        yield row["text"]


def _plain(texts: Iterable[str]) -> Iterator[str]:
    """Pass on what is text: other files may be valid UTF-8 by chance, but no text has a NUL."""
    for text in texts:
        if "\0" in text:
            raise ValueError("it holds zero bytes")
        yield text


def _file_pieces(path: Path) -> Iterator[str]:
    """Yield a file in pieces of about PIECE_BYTES that end with a line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        while lines := file.readlines(PIECE_BYTES):
            yield "".join(lines)


def _explain(source: Files, error: Exception) -> InputError:
    """Find the file and place that made reading fail."""
    for path in source.files:
        problem = _problem_of(path)
        if problem is not None:
            return problem
    return InputError(f"the text cannot be read: {error}", where=source.origin)


def _problem_of(path: Path) -> InputError | None:
    """Return what is wrong with one file of plain text, with its line."""
    if path.suffix in rows.SUFFIXES:
        return None
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                if "\0" in line.decode("utf-8"):
                    return rows.not_text(f"{path}:{number}", "it holds zero bytes")
    except UnicodeDecodeError as problem:
        return rows.not_text(f"{path}:{number}", problem.reason)
    except OSError as problem:
        return InputError(
            f"cannot be read: {problem}", where=f"{path}:{number}" if number else str(path)
        )
    return None
