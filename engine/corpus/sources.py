"""Where documents come from: files, read by the `datasets` library.

A source is a list of files.  Its digest is over the files' names and bytes and costs no import
of `datasets`, so that a corpus that is prepared already is found at once.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.engine.cache import cache_folder
from genesys_engine.engine.corpus.english import english_files
from genesys_engine.engine.corpus.options import CorpusOptions
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.corpus import file_digest

SUFFIXES = (".txt", ".md", ".jsonl")

# Not the library's own text, or not text: tests, installed packages, machine-made tables (the
# encodings are near copies of each other and would leak from training to held-out documents).
SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "dist-packages", "encodings", "idle_test", "site-packages", "test", "tests"}
)


@dataclass(frozen=True)
class Source:
    """Text files and JSON-lines files, in a fixed order.

    `names` parallels `files` and says what a file is called in the digest; `origin` says in one
    line where the text is from (for the manifest).
    """

    origin: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    text_field: str = "text"

    def digest(self) -> str:
        """Return the hex SHA-256 over names and contents."""
        digest = hashlib.sha256()
        for name, path in zip(self.names, self.files, strict=True):
            digest.update(f"{name}\0{file_digest(path)}\n".encode())
        return digest.hexdigest()

    def documents(self) -> Iterator[str]:
        """Yield the text of every document, one pass over the files.

        Raises:
            InputError: a file that is not UTF-8 text, or a JSON line without the text field.
        """
        plain = [str(path) for path in self.files if path.suffix != ".jsonl"]
        lines = [str(path) for path in self.files if path.suffix == ".jsonl"]
        try:
            if plain:
                yield from _stream("text", plain, "text", sample_by="document")
            if lines:
                yield from _stream("json", lines, self.text_field)
        except InputError:
            raise
        except Exception as error:
            # The library says neither file nor place: look for it, once something is wrong.
            raise _explain(self, error) from error


def open_source(options: CorpusOptions) -> Source:
    """Find the files that `options` name.

    Raises:
        InputError: a path does not exist or holds no text file.
        EnvironmentProblem: the corpus `english` has not been fetched, or was changed.
    """
    if options.use == "python-stdlib":
        return _standard_library()
    if options.use == "english":
        files = english_files(cache_folder())
        names = tuple(f"{path.parent.name}/{path.name}" for path in files)
        return Source("State of the Union, Brown corpus, Moby Dick", tuple(files), names)
    unique = tuple(dict.fromkeys(path for text in options.paths for path in _expand(text)))
    # Names are relative to nothing a machine decides: content and order are what counts.
    names = tuple(f"{i}{path.suffix}" for i, path in enumerate(unique))
    return Source(f"text: {', '.join(options.paths)}", unique, names, options.text_field)


def _standard_library() -> Source:
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
    return Source(f"Python {version} standard library", tuple(found[name] for name in names), names)


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
    matches = sorted(p for p in Path(path.anchor).glob(pattern) if p.is_file())
    if not matches:
        raise InputError("no such file or folder", where=text, hint="check corpus.paths")
    return matches


def _stream(builder: str, files: list[str], field: str, **settings: str) -> Iterator[str]:
    """Read `files` with a packaged builder of `datasets`, without its Arrow cache."""
    import datasets

    stream = datasets.load_dataset(
        builder, data_files={"train": files}, split="train", streaming=True, **settings
    )
    for row in stream:
        text = row.get(field)
        if not isinstance(text, str):
            raise InputError(
                f"a line without text in the field {field!r} (it has {', '.join(row)})",
                where=", ".join(files[:3]),
                hint="set corpus.text_field",
            )
        yield text


def _explain(source: Source, error: Exception) -> InputError:
    """Find the file and place that made reading fail."""
    for path in source.files:
        number = 0
        try:
            with path.open("rb") as file:
                for line in file:
                    number += 1
                    text = line.decode("utf-8")
                    if path.suffix == ".jsonl" and text.strip():
                        json.loads(text)
        except UnicodeDecodeError as problem:
            return InputError(
                f"not UTF-8 text: {problem.reason}",
                where=f"{path}:{number}",
                hint="convert the file, or leave it out of corpus.paths",
            )
        except (OSError, ValueError) as problem:
            return InputError(f"cannot be read: {problem}", where=f"{path}:{number}")
    return InputError(f"the text cannot be read: {error}", where=source.origin)
