"""Prepare a corpus once per content and settings, in a folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.disk import held, publish, size_of, sync
from genesys_engine.engine.corpus.encode import PARTS, Encoding, encode
from genesys_engine.engine.corpus.files import Files, Source
from genesys_engine.engine.corpus.items import write_items
from genesys_engine.engine.corpus.options import CorpusOptions
from genesys_engine.engine.corpus.selection import HELDOUT_DOCUMENTS, Selection, select
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.engine.corpus.tokenizer import (
    end_of_text,
    open_pretrained,
    train_tokenizer,
    vocabulary_size,
)
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import FORMAT, MANIFEST, Corpus, file_digest, load_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import JsonValue
    from tokenizers import Tokenizer

Progress = Callable[[str], None]

TOKENIZER = "tokenizer.json"
LEFT_OUT = "left_out"
"""Key of the manifest: sentences on rows that were left out or changed, where there are any."""
SIXTEEN_BITS = 1 << 16  # a larger vocabulary is stored in 32 bits
PAIRS_AT_ONCE = 1 << 24


def prepare(
    options: CorpusOptions,
    cache: Path,
    progress: Progress = lambda stage: None,
    processes: int | None = None,
) -> Path:
    """Return the folder of the prepared corpus, making it where the cache has none.

    The folder's name is a digest over the text's content and the settings, so that a changed
    file makes another corpus.  `progress` is called with a line now and then, `processes` is how
    many encode at once (the result is the same).  A preparation that was killed is resumed
    where it was; a second process that wants the same corpus waits for the first.

    Raises:
        InputError: a path, the text or its amount is not usable, or a cached file is damaged.
        EnvironmentProblem: the cache cannot be written, or the text cannot be fetched.
    """
    progress("reading the corpus")
    source = open_source(options)
    if isinstance(source, Files):
        every, source = source, source.limited(options.max_bytes)
        if source is not every:
            of = f"{len(source.files):,} of {len(every.files):,} files"
            progress(f"reading the corpus: {of}, {size_of(source.text_bytes())}")
    tokenizer = open_pretrained(options.tokenizer)
    content = source.digest()
    settings = _settings(options, tokenizer)
    key = _digest({"format": FORMAT, "content": content, **settings})[:20]
    folder = cache / f"corpus-{key}"
    if folder.exists():
        corpus = Corpus.open(folder)
        corpus.check()
        _tell(corpus, progress)
        return folder
    scratch = cache / f".preparing-{key}"
    try:
        while not folder.exists():
            with held(
                scratch,
                lambda: progress("waiting for another process that prepares this corpus"),
            ) as mine:
                if mine:
                    job = _Job(source, content, options, settings, tokenizer, progress, processes)
                    _make(job, scratch, folder)
    except OSError as error:
        raise EnvironmentProblem(
            f"the corpus cannot be written: {error}",
            where=str(cache),
            hint="free space or move the cache, and start again: encoded parts are kept",
        ) from error
    _tell(Corpus.open(folder), progress)
    return folder


def _tell(corpus: Corpus, progress: Progress) -> None:
    """Say what of the text was left out or changed."""
    for sentence in corpus.manifest.get(LEFT_OUT, ()):
        progress(f"corpus: {sentence}")


@dataclass(frozen=True)
class _Job:
    """What a corpus is made from, and how."""

    source: Source
    content: str
    options: CorpusOptions
    settings: Mapping[str, JsonValue]
    pretrained: Tokenizer | None
    progress: Progress
    processes: int | None


def _make(job: _Job, scratch: Path, folder: Path) -> None:
    """Make the corpus in `scratch` and give it its name.

    What an interruption or the machine leaves in `scratch` is used by the next attempt, which
    looks at every part; a fault of the text or of the options removes it.  A full disk is no
    exception: the next attempt needs the same room, so that clearing it would win nothing and
    lose what may have taken hours.
    """
    try:
        if not folder.exists():
            _write(job, scratch)
            publish(scratch, folder)
    except (EnvironmentProblem, OSError, MemoryError):
        raise
    except Exception:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch, ignore_errors=True)


def _write(job: _Job, folder: Path) -> None:
    """Fill `folder` with every file of a corpus, the manifest last."""
    import numpy as np

    options, progress = job.options, job.progress
    selection = select(job.source, options.max_bytes, options.heldout)
    tokenizer = _tokenizer(job, selection, folder / TOKENIZER)
    vocab_size = vocabulary_size(tokenizer)
    end = end_of_text(tokenizer)
    dtype = "<u2" if vocab_size <= SIXTEEN_BITS else "<u4"
    progress("encoding")
    splits = encode(
        selection.documents(),
        Encoding(folder / TOKENIZER, end, dtype),
        folder,
        selection.expected_bytes,
        progress,
        job.processes,
    )
    left_out = list(job.source.tally.sentences())  # of a whole pass: the next ends early
    _require_both(splits, job)
    _byte_lengths(tokenizer, vocab_size, end).tofile(folder / "byte_lengths.bin")
    progress("counting the bigram control")
    _count_bigrams(folder / "train.bin", dtype, vocab_size, end, folder / "bigram.npz")
    progress("making lm-eval items")
    training = np.memmap(folder / "train.bin", dtype=dtype, mode="r")
    shutil.rmtree(folder / "tasks", ignore_errors=True)
    items = write_items(selection.texts("heldout"), training, tokenizer, folder / "tasks")
    shutil.rmtree(folder / PARTS)
    facts = {
        "format": FORMAT,
        "origin": job.source.origin,
        "content": job.content,
        "settings": dict(job.settings),
        "vocab_size": vocab_size,
        "end_of_text": end,
        "dtype": dtype,
        "splits": splits,
        "items": items,
        **({LEFT_OUT: left_out} if left_out else {}),
    }
    _write_manifest(folder, facts)


def _require_both(splits: Mapping[str, Mapping[str, int]], job: _Job) -> None:
    """Check that there is text on both sides.

    Raises:
        InputError: there is none to train on, or too little to score with.
    """
    train, held = (splits[split]["documents"] for split in ("train", "heldout"))
    if not train + held:
        raise InputError(
            f"no document with text fits into max_bytes = {job.options.max_bytes:,}",
            where=job.source.origin,
            hint="raise max_bytes, or use other text",
        )
    if not train:
        raise InputError(
            f"all documents ({held}) are held out",
            where=job.source.origin,
            hint="add text, raise max_bytes or lower heldout",
        )
    if held < HELDOUT_DOCUMENTS:
        raise InputError(
            f"{held} documents are held out; at least {HELDOUT_DOCUMENTS} are needed",
            where=job.source.origin,
            hint="add text, raise max_bytes or raise heldout",
        )


def _settings(options: CorpusOptions, pretrained: Tokenizer | None) -> dict[str, JsonValue]:
    """Return what of the options changes the result; where text lies doesn't, its content does."""
    settings: dict[str, JsonValue] = options.model_dump(
        mode="json", exclude={"paths", "tokenizer", "parts"}
    )
    if pretrained is not None:
        del settings["vocab_size"]
        settings["tokenizer"] = hashlib.sha256(pretrained.to_str().encode()).hexdigest()
    return settings


def _tokenizer(job: _Job, selection: Selection, path: Path) -> Tokenizer:
    """Return the tokenizer as its file gives it, which is written where it is not there yet."""
    if not path.exists():
        tokenizer = job.pretrained
        if tokenizer is None:
            job.progress(f"training the tokenizer ({job.options.vocab_size:,} tokens)")
            tokenizer = train_tokenizer(selection.texts("train"), job.options.vocab_size)
        partial = path.with_name(path.name + ".partial")
        tokenizer.save(str(partial))
        sync(partial)
        partial.replace(path)
    return load_tokenizer(path)


def _byte_lengths(tokenizer: Tokenizer, vocab_size: int, end: int) -> NDArray[Any]:
    """Return the bytes of text per token: byte-level BPE spells each byte as one character."""
    import numpy as np

    spelled = (tokenizer.id_to_token(i) or "" for i in range(vocab_size))
    lengths = np.array([len(token) for token in spelled], dtype="<u2")
    lengths[end] = 0
    return lengths


def _count_bigrams(tokens: Path, dtype: str, vocab_size: int, end: int, path: Path) -> None:
    """Count neighbouring pairs within documents, sorted by (first, second), as a sparse table.

    The text is read in pieces: what is held grows with the different pairs, not with the text.
    """
    import numpy as np

    stream = np.memmap(tokens, dtype=dtype, mode="r")
    pairs, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for start in range(0, max(1, len(stream) - 1), PAIRS_AT_ONCE):
        piece = np.asarray(stream[start : start + PAIRS_AT_ONCE + 1]).astype(np.int64)
        first, second = piece[:-1], piece[1:]
        within = (first != end) & (second != end)
        some, times = np.unique(first[within] * vocab_size + second[within], return_counts=True)
        pairs, places = np.unique(np.concatenate([pairs, some]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([counts, times]), len(pairs)).astype(np.int64)
    with path.open("wb") as file:
        np.savez(
            file,
            first=(pairs // vocab_size).astype("<u4"),
            second=(pairs % vocab_size).astype("<u4"),
            count=counts.astype("<i8"),
        )


def _write_manifest(folder: Path, facts: Mapping[str, object]) -> None:
    """Record size and digest of every file, after all of them are safely on disk."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        sync(path)
        files[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
    body: dict[str, object] = {**facts, "files": files}
    body["digest"] = _digest(body)
    path = folder / MANIFEST
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sync(path)


def _digest(data: object) -> str:
    """Return the hex SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
