"""Prepare a corpus once per content and settings, in a folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.corpus.items import write_items
from genesys_engine.engine.corpus.options import CorpusOptions
from genesys_engine.engine.corpus.selection import Selection, select
from genesys_engine.engine.corpus.sources import Source, open_source
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.corpus import END_OF_TEXT, FORMAT, MANIFEST, Corpus, file_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Progress = Callable[[str], None]

TOKENIZER_BYTES = 32_000_000  # more text does not move the merges of a vocabulary that we train
ENCODE_AT_ONCE = 256  # documents
SIXTEEN_BITS = 1 << 16  # a larger vocabulary is stored in 32 bits


def prepare(options: CorpusOptions, cache: Path, progress: Progress = lambda stage: None) -> Path:
    """Return the folder of the prepared corpus, making it where the cache has none.

    The folder's name is a digest over the files' content and the settings, so that a changed
    file makes another corpus.  `progress` is called with one line per stage.  Two processes may
    prepare the same corpus at once: one result stays.

    Raises:
        InputError: a path, the text or its amount is not usable, or a cached file is damaged.
        EnvironmentProblem: the cache cannot be written.
    """
    progress("reading the corpus")
    source = open_source(options)
    content = source.digest()
    key = _digest({"format": FORMAT, "content": content, **_settings(options)})
    folder = cache / f"corpus-{key[:20]}"
    if folder.exists():
        Corpus.open(folder).check()
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".preparing-", dir=cache))
        try:
            _write(source, content, options, scratch, progress)
            _publish(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the corpus cannot be written: {error}", where=str(cache), hint="free space or move it"
        ) from error
    return folder


def _write(
    source: Source, content: str, options: CorpusOptions, folder: Path, progress: Progress
) -> None:
    """Fill `folder` with every file of a corpus, the manifest last."""
    import numpy as np

    selection = select(source, options.max_bytes, options.heldout)
    progress(f"training the tokenizer ({options.vocab_size:,} tokens)")
    tokenizer = _train_tokenizer(selection, options.vocab_size)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocab_size = tokenizer.get_vocab_size()
    end = int(tokenizer.token_to_id(END_OF_TEXT) or 0)  # the trainer puts special tokens first
    dtype = "<u2" if vocab_size <= SIXTEEN_BITS else "<u4"
    progress("encoding")
    splits = {}
    for split in ("train", "heldout"):
        path = folder / f"{split}.bin"
        splits[split] = {**selection.counts(split), "tokens": 0}
        splits[split]["tokens"] = _encode(selection.texts(split), tokenizer, end, path, dtype)
    _byte_lengths(tokenizer, vocab_size, end).tofile(folder / "byte_lengths.bin")
    progress("counting the bigram control")
    _count_bigrams(folder / "train.bin", dtype, vocab_size, end, folder / "bigram.npz")
    progress("making lm-eval items")
    training = np.memmap(folder / "train.bin", dtype=dtype, mode="r")
    items = write_items(selection.texts("heldout"), training, tokenizer, folder / "tasks")
    facts = {
        "format": FORMAT,
        "origin": source.origin,
        "content": content,
        "settings": _settings(options),
        "vocab_size": vocab_size,
        "end_of_text": end,
        "dtype": dtype,
        "splits": splits,
        "items": items,
    }
    _write_manifest(folder, facts)


def _settings(options: CorpusOptions) -> dict[str, Any]:
    """Return what of the options changes the result; paths don't, their content does."""
    return options.model_dump(mode="json", exclude={"paths"})


def _train_tokenizer(selection: Selection, vocab_size: int) -> Tokenizer:
    """Train byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) on training documents."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_capped(selection.texts("train"), TOKENIZER_BYTES), trainer)
    tokenizer.encode_special_tokens = True  # a document may spell the end-of-text token
    return tokenizer


def _capped(texts: Iterator[str], limit: int) -> Iterator[str]:
    """Yield texts until `limit` characters have been seen."""
    seen = 0
    for text in texts:
        if seen >= limit:
            return
        seen += len(text)
        yield text


def _encode(texts: Iterator[str], tokenizer: Tokenizer, end: int, path: Path, dtype: str) -> int:
    """Write the packed tokens of `texts`, each document closed by `end`; return their number."""
    import numpy as np

    total = 0
    with path.open("wb") as file:
        for some in _chunks(texts, ENCODE_AT_ONCE):
            for encoding in tokenizer.encode_batch_fast(some, add_special_tokens=False):
                ids = np.array([*encoding.ids, end], dtype=dtype)
                file.write(ids.tobytes())
                total += len(ids)
    return total


def _chunks(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    """Group an iterator into lists of at most `size`."""
    some: list[str] = []
    for text in texts:
        some.append(text)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _byte_lengths(tokenizer: Tokenizer, vocab_size: int, end: int) -> NDArray[Any]:
    """Return the bytes of text per token: byte-level BPE spells each byte as one character."""
    import numpy as np

    lengths = np.array([len(str(tokenizer.id_to_token(i))) for i in range(vocab_size)], dtype="<u2")
    lengths[end] = 0
    return lengths


def _count_bigrams(tokens: Path, dtype: str, vocab_size: int, end: int, path: Path) -> None:
    """Count neighbouring pairs within documents, sorted by (first, second), as a sparse table."""
    import numpy as np

    stream = np.fromfile(tokens, dtype=dtype).astype(np.int64)
    first, second = stream[:-1], stream[1:]
    within = (first != end) & (second != end)
    pairs, counts = np.unique(first[within] * vocab_size + second[within], return_counts=True)
    with path.open("wb") as file:
        np.savez(
            file,
            first=(pairs // vocab_size).astype("<u4"),
            second=(pairs % vocab_size).astype("<u4"),
            count=counts.astype("<i8"),
        )


def _write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Record size and digest of every file, after all of them are safely on disk."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        _sync(path)
        files[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
    body = {**facts, "files": files}
    body["digest"] = _digest(body)
    path = folder / MANIFEST
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _sync(path)


def _publish(scratch: Path, folder: Path) -> None:
    """Rename the finished folder into place; where another process was faster, keep its one."""
    _sync(scratch)
    scratch.chmod(0o755)  # mkdtemp makes it private; workers may run as somebody else
    try:
        scratch.rename(folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(data: object) -> str:
    """Return the hex SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
