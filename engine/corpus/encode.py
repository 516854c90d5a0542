"""Tokenise documents once, in parallel, into parts that survive a kill, and join them.

A part is the packed tokens of some neighbouring documents of one split.  Its note (sizes,
digests) is written after its tokens are safely on disk: a part without a note, or with another
digest, is encoded again.  What is in a part does not depend on the number of processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.disk import size_of, write_whole
from genesys_engine.engine.common.records import from_json, to_json
from genesys_engine.engine.common.steps import Steps
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.corpus import file_digest, load_tokenizer
from genesys_engine.plugins.sandbox.starting import retried

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Progress = Callable[[str], None]

PARTS = "parts"
COUNTS = ("documents", "bytes", "tokens")
SPLITS = ("train", "heldout")
PART_CHARACTERS = 4_000_000
ENCODE_AT_ONCE = 256  # documents
SERIAL_BYTES = 12_000_000  # starting processes takes longer than encoding less text than this
MOST_PROCESSES = 32
TELL_EVERY_S = 5.0


@dataclass(frozen=True)
class Encoding:
    """How text becomes tokens; `end` follows every document, `dtype` is "<u2" or "<u4"."""

    tokenizer: Path
    end: int
    dtype: str


@dataclass
class _Part:
    """Documents of one split that become one file."""

    split: str
    number: int
    texts: list[str] = field(default_factory=list)
    characters: int = 0

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05}"


@dataclass(frozen=True)
class PartNote:
    """What a part holds: the digests of its text and of its tokens, and how much it is."""

    text: str
    sha256: str
    documents: int
    bytes: int
    tokens: int


def encode(
    documents: Iterable[tuple[str, str]],
    encoding: Encoding,
    folder: Path,
    total_bytes: int,
    progress: Progress,
    processes: int | None = None,
) -> dict[str, dict[str, int]]:
    """Write `train.bin` and `heldout.bin`; return documents, bytes and tokens of each.

    Args:
        documents: (split, text), read once and never all held.
        encoding: how.
        folder: receives the files and a folder `parts`, which the caller removes when nothing
            can go wrong any more; parts of an earlier attempt are used again.
        total_bytes: how much text is expected, for the progress and the choice of processes.
        progress: gets a line now and then.
        processes: how many encode at once; None takes the cores that this process may use.
    """
    parts = folder / PARTS
    parts.mkdir(exist_ok=True)
    cores = min(processes or _cores(), MOST_PROCESSES)
    notes: dict[str, list[PartNote]] = {split: [] for split in SPLITS}
    steps = Steps(progress, total_bytes, every_s=TELL_EVERY_S)
    with _workers(1 if total_bytes < SERIAL_BYTES and processes is None else cores) as submit:
        waiting: deque[tuple[str, Future[PartNote]]] = deque()

        def collect() -> None:
            split, future = waiting.popleft()
            note = future.result()
            notes[split].append(note)
            steps.done(note.bytes)
            steps.tell(f"encoding: {100 * steps.share:.0f} % of {size_of(total_bytes)}")

        for part in _parts(documents):
            waiting.append((part.split, submit(_encode_part, part, encoding, parts)))
            if len(waiting) > 2 * cores:  # bounds the text that is held
                collect()
        while waiting:
            collect()
    for split in SPLITS:
        _join([parts / f"{split}-{i:05}" for i in range(len(notes[split]))], folder / split)
    return {
        split: {key: sum(getattr(note, key) for note in notes[split]) for key in COUNTS}
        for split in SPLITS
    }


def _parts(documents: Iterable[tuple[str, str]]) -> Iterator[_Part]:
    """Group documents by split, in their order."""
    open_parts = {split: _Part(split, 0) for split in SPLITS}
    for split, text in documents:
        part = open_parts[split]
        part.texts.append(text)
        part.characters += len(text)
        if part.characters >= PART_CHARACTERS:
            open_parts[split] = _Part(split, part.number + 1)
            yield part
    yield from (part for part in open_parts.values() if part.texts)


def _encode_part(part: _Part, encoding: Encoding, folder: Path) -> PartNote:
    """Write one part and its note, unless both are there; return the note."""
    text = hashlib.sha256()
    for document in part.texts:
        text.update(hashlib.sha256(document.encode()).digest())
    known = _finished(folder / part.name, text.hexdigest())
    if known is not None:
        return known
    path = folder / f"{part.name}.bin"
    tokens = _write_tokens(part.texts, encoding, path)
    note = PartNote(
        text=text.hexdigest(),
        sha256=file_digest(path),
        documents=len(part.texts),
        bytes=sum(len(document.encode()) for document in part.texts),
        tokens=tokens,
    )
    write_whole(folder / f"{part.name}.json", json.dumps(to_json(note)))
    return note


def _finished(stem: Path, text: str) -> PartNote | None:
    """Return the note of a part that holds this text and is intact."""
    try:
        written = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        note = from_json(PartNote, written)
        intact = note.text == text and file_digest(stem.with_suffix(".bin")) == note.sha256
    except (OSError, ValueError):
        return None
    return note if intact else None


def _write_tokens(texts: list[str], encoding: Encoding, path: Path) -> int:
    """Write the packed tokens of documents, each closed by the end-of-text token."""
    tokenizer = _tokenizer(str(encoding.tokenizer))
    kind = "H" if encoding.dtype == "<u2" else "I"
    total = 0
    with path.open("wb") as file:
        for start in range(0, len(texts), ENCODE_AT_ONCE):
            ids = array(kind)
            some = texts[start : start + ENCODE_AT_ONCE]
            for encoded in tokenizer.encode_batch_fast(some, add_special_tokens=False):
                ids.extend(encoded.ids)
                ids.append(encoding.end)
            if sys.byteorder == "big":
                ids.byteswap()
            ids.tofile(file)
            total += len(ids)
        file.flush()
        os.fsync(file.fileno())
    return total


@lru_cache(maxsize=1)
def _tokenizer(path: str) -> Tokenizer:
    return load_tokenizer(Path(path))


def _join(stems: list[Path], target: Path) -> None:
    """Write the parts behind one another.

    Raises:
        EnvironmentProblem: a part is no longer what was written.
    """
    with target.with_suffix(".bin").open("wb") as whole:
        for stem in stems:
            part = stem.with_suffix(".bin")
            note = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
            if file_digest(part) != note["sha256"]:
                raise EnvironmentProblem(
                    "a part of the corpus differs from the data written",
                    where=str(part),
                    hint="the disk or the memory of this machine is faulty; try again",
                )
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)


# --- processes -----------------------------------------------------------------------------------


_HINT = "free memory and start again: encoded parts are kept"


class _Process(SpawnProcess):
    """A process whose start is repeated where the system refuses it for a moment."""

    def start(self) -> None:
        try:
            retried(super().start)
        except OSError as error:
            raise EnvironmentProblem(
                f"an encoding process cannot be started: {error}", where="corpus", hint=_HINT
            ) from error


class _Processes(SpawnContext):
    """Not forked: this process may have threads, and the tokenizers library has."""

    Process = _Process


@contextlib.contextmanager
def _workers(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """Give a `submit`: to `count` processes, or, with one, to this very process."""
    if count == 1:
        yield _here
        return
    pool = ProcessPoolExecutor(count, mp_context=_Processes(), initializer=_start_worker)
    try:
        yield pool.submit
    except BrokenProcessPool as error:
        raise EnvironmentProblem(
            "an encoding process was killed", where="corpus", hint=_HINT
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _here(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Call at once and return the result as a future has it."""
    done: Future[Any] = Future()
    done.set_result(function(*arguments))
    return done


def _start_worker() -> None:
    """Leave Ctrl-C and a closed terminal to the parent, use one thread, end when it is gone."""
    for name in {"SIGINT", "SIGHUP"} & set(dir(signal)):  # both reach all that the terminal started
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
