"""Which corpora there are: by name, and prepared in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genesys_engine.engine.corpus.english import FETCH, english_files, english_folder
from genesys_engine.engine.corpus.options import CorpusOptions
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import Corpus


@dataclass(frozen=True)
class Named:
    """A corpus that `[corpus] use` can name; `bytes` is 0 where it is not on this machine."""

    name: str
    what: str
    bytes: int
    state: str


@dataclass(frozen=True)
class Prepared:
    """A prepared corpus in the cache; `problem` says why it cannot be used, if so."""

    folder: str
    origin: str
    vocab_size: int
    train_tokens: int
    heldout_tokens: int
    bytes: int
    problem: str = ""


def named_corpora(cache: Path) -> list[Named]:
    """Return the corpora that need no path."""
    return [_standard_library(), _english(cache)]


def prepared_corpora(cache: Path) -> list[Prepared]:
    """Return the corpora in the cache, sorted by folder."""
    return [_prepared(folder) for folder in sorted((cache / "corpora").glob("corpus-*"))]


def _standard_library() -> Named:
    what = "source of this Python's standard library"
    try:
        size = open_source(CorpusOptions(use="python-stdlib")).text_bytes()
    except InputError as error:
        return Named("python-stdlib", what, 0, error.message)
    return Named("python-stdlib", what, size or 0, "ready")


def _english(cache: Path) -> Named:
    what = "State of the Union speeches, Brown corpus, Moby Dick"
    try:
        files = english_files(cache)
    except EnvironmentProblem as error:
        there = english_folder(cache).exists()
        return Named("english", what, 0, error.message if there else f"run: {FETCH}")
    return Named("english", what, sum(p.stat().st_size for p in files), "ready")


def _prepared(folder: Path) -> Prepared:
    try:
        corpus = Corpus.open(folder)
    except InputError as error:
        return Prepared(str(folder), "", 0, 0, 0, 0, error.message)
    splits = corpus.manifest["splits"]
    return Prepared(
        str(folder),
        str(corpus.manifest["origin"]),
        corpus.vocab_size,
        splits["train"]["tokens"],
        splits["heldout"]["tokens"],
        sum(entry["bytes"] for entry in corpus.manifest["files"].values()),
    )
