"""A prepared corpus, read by workers: packed tokens, a loss mask and exact byte counts.

`engine.corpus.prepare` writes the folder, this module reads it.  The folder holds

* `manifest.json`: format, settings, sizes and SHA-256 of every other file,
* `tokenizer.json`: byte-level BPE of the `tokenizers` library,
* `train.bin`, `heldout.bin`: token ids, little-endian uint16 (uint32 above 65,536 tokens);
  every document is followed by one end-of-text token,
* `byte_lengths.bin`: uint16, bytes of text per token id (0 for the end-of-text token),
* `bigram.npz`: counts for the bigram control,
* `tasks/*.jsonl`: items of the lm-eval tasks, made from held-out documents only.

What a score is made of (`heldout.bin`, `tasks/`) is closed to a process that trains: it opens the
rest (`TRAINING_FILES`) with `training=True`.

Opening reads the manifest and compares file sizes: the cost does not depend on the size of
the corpus.  `Corpus.check` compares the digests too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count as count_up
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

FORMAT = 1
MANIFEST = "manifest.json"
END_OF_TEXT = "<|endoftext|>"
REMEDY = "delete this folder; the next `run` or `resume` prepares it again"
TRAIN, HELDOUT, TASKS = "train.bin", "heldout.bin", "tasks/"
TRAINING_FILES = (MANIFEST, TRAIN, "tokenizer.json", "byte_lengths.bin", "bigram.npz")
"""All that is made of training text alone."""


@dataclass(frozen=True)
class Batch:
    """Windows of packed text: `inputs`, `targets` (N, T) int64 and `mask` (N, T) bool.

    `mask` is true where the target is text that belongs to the same document as its input:
    only there is a loss, and only there a token is counted.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    mask: NDArray[np.bool_]

    @cached_property
    def real_tokens(self) -> int:
        """Number of targets that count."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus in `folder`; make one with `Corpus.open`."""

    folder: Path
    manifest: Mapping[str, Any]
    training: bool = False

    @classmethod
    def open(cls, folder: str | Path, *, training: bool = False) -> Corpus:
        """Open the folder that `engine.corpus.prepare` wrote, in constant time.

        Args:
            training: for a process that trains, which has no held-out text and no items of tasks.

        Raises:
            InputError: no corpus there, another format, or a file with a wrong size.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError("no prepared corpus here", where=str(folder)) from None
        except (OSError, ValueError) as error:
            raise InputError(
                f"the corpus manifest cannot be read: {error}", where=str(folder), hint=REMEDY
            ) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise InputError("the corpus has another format", where=str(folder), hint=REMEDY)
        for name, entry in manifest["files"].items():
            if training and name not in TRAINING_FILES:
                continue  # a node that only trains may not have it
            _check_size(folder / name, entry["bytes"])
        return cls(folder, manifest, training)

    def check(self) -> None:
        """Compare every file with the SHA-256 of the manifest; reads the whole corpus.

        Raises:
            InputError: a file has changed since it was prepared.
        """
        for name, entry in self.manifest["files"].items():
            if file_digest(self.folder / name) != entry["sha256"]:
                raise InputError(
                    "the file differs from what was prepared (digest)",
                    where=str(self.folder / name),
                    hint=REMEDY,
                )

    @property
    def digest(self) -> str:
        """Hex SHA-256 that names the content: settings and every file."""
        return str(self.manifest["digest"])

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the end-of-text token included."""
        return int(self.manifest["vocab_size"])

    @property
    def end_of_text(self) -> int:
        """Id of the token that follows every document."""
        return int(self.manifest["end_of_text"])

    @property
    def tokenizer_path(self) -> Path:
        """The `tokenizers` file."""
        return self.folder / "tokenizer.json"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; text that spells the end-of-text token stays text."""
        return load_tokenizer(self.tokenizer_path)

    @cached_property
    def train(self) -> NDArray[Any]:
        """Token ids of the training documents (memory-mapped)."""
        return self._memmap(TRAIN, self.manifest["dtype"])

    @cached_property
    def heldout(self) -> NDArray[Any]:
        """Token ids of the held-out documents (memory-mapped).

        Raises:
            InputError: the corpus was opened to train on.
        """
        self._demand_evaluation()
        return self._memmap(HELDOUT, self.manifest["dtype"])

    @property
    def heldout_tokens(self) -> int:
        """Number of held-out tokens."""
        import numpy as np

        size = int(self.manifest["files"][HELDOUT]["bytes"])
        return size // int(np.dtype(self.manifest["dtype"]).itemsize)

    @cached_property
    def byte_lengths(self) -> NDArray[np.int64]:
        """Bytes of text that a token stands for, by token id; (vocab_size,) int64."""
        import numpy as np

        return np.asarray(self._memmap("byte_lengths.bin", "<u2"), dtype=np.int64)

    def task_items(self, task: str) -> Path:
        """JSON-lines file with the items of a task.

        Raises:
            InputError: the corpus has no such task, or was opened to train on.
        """
        self._demand_evaluation()
        path = self.folder / TASKS / f"{task}.jsonl"
        if f"{TASKS}{task}.jsonl" not in self.manifest["files"]:
            known = sorted(Path(n).stem for n in self.manifest["files"] if n.startswith(TASKS))
            raise InputError(f"no task named {task!r}", hint=f"this corpus has {', '.join(known)}")
        return path

    def require(self, batch_size: int, context: int) -> None:
        """Check that one training batch and one held-out window of this size exist.

        Raises:
            InputError: the corpus is too small.
        """
        if self._windows_per_epoch(context) < batch_size:
            raise InputError(
                f"{len(self.train):,} training tokens are too few for one batch of "
                f"{batch_size} x {context}",
                where=str(self.folder),
                hint="give more text, a smaller batch or a smaller context",
            )
        self._require_heldout(context)

    def batches(self, seed: int, batch_size: int, context: int, start: int = 0) -> Iterator[Batch]:
        """Yield training batches without end: every window once per epoch, shuffled.

        Each epoch cuts the stream at another random offset, so that window borders move.  The
        sequence depends on `seed`, `batch_size` and `context` only; the first `start` batches
        of it are passed over without being read.

        Raises:
            InputError: the training part is shorter than one batch.
        """
        import numpy as np

        self.require(batch_size, context)
        count = self._windows_per_epoch(context)
        pending = np.empty(0, dtype=np.int64)
        number = 0
        for epoch in count_up():
            rng = np.random.default_rng((seed, epoch))
            offset = rng.integers(len(self.train) - count * context)
            pending = np.concatenate([pending, offset + context * rng.permutation(count)])
            for first in range(0, len(pending) - batch_size + 1, batch_size):
                if number >= start:
                    yield self._windows(self.train, pending[first : first + batch_size], context)
                number += 1
            pending = pending[len(pending) - len(pending) % batch_size :]

    def heldout_windows(self, context: int, limit: int | None = None, every: int = 1) -> Batch:
        """Return windows spread evenly over the held-out text, at most `limit` of them, and of
        these only the first of every `every`.

        Without a limit every held-out token but those of an incomplete last window is a target
        exactly once.

        Raises:
            InputError: the held-out part is shorter than one window.
        """
        import numpy as np

        self._require_heldout(context)
        count = (len(self.heldout) - 1) // context
        used = count if limit is None else min(limit, count)
        starts = (np.arange(0, used, every, dtype=np.int64) * count // used) * context
        return self._windows(self.heldout, starts, context)

    def _require_heldout(self, context: int) -> None:
        """Check that one held-out window exists."""
        if self.heldout_tokens <= context:
            raise InputError(
                f"{self.heldout_tokens:,} held-out tokens are fewer than one context of {context}",
                where=str(self.folder),
                hint="give more text or a larger `heldout` share",
            )

    def _demand_evaluation(self) -> None:
        """Refuse evaluation data to a process that trains."""
        if self.training:
            raise InputError(
                "held-out text and the items of tasks are closed to a process that trains",
                where=str(self.folder),
                hint="train on `corpus.train`; a score is an evaluator's business",
            )

    def _windows_per_epoch(self, context: int) -> int:
        """Return the disjoint windows that an epoch has: one fewer leaves room to shift them."""
        return (len(self.train) - context) // context

    def _windows(self, stream: NDArray[Any], starts: NDArray[np.int64], context: int) -> Batch:
        """Cut windows of `context` inputs and their next tokens at `starts`."""
        import numpy as np

        tokens = stream[starts[:, None] + np.arange(context + 1)].astype(np.int64)
        text = tokens != self.end_of_text
        return Batch(tokens[:, :-1], tokens[:, 1:], text[:, :-1] & text[:, 1:])

    def _memmap(self, name: str, dtype: str) -> NDArray[Any]:
        """Map one flat file read-only."""
        import numpy as np

        # A plain array view: indexing `np.memmap` itself runs Python code at every access.
        return np.asarray(np.memmap(self.folder / name, dtype=dtype, mode="r"))


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer such that special tokens in text are encoded as the text they are."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def file_digest(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_size(path: Path, expected: int) -> None:
    """Raise InputError where a file is missing, half-written or grown."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError("a file of the corpus is missing", where=str(path), hint=REMEDY) from None
    if size != expected:
        raise InputError(
            f"the file has {size:,} bytes instead of {expected:,}", where=str(path), hint=REMEDY
        )
