"""The demands of lm-eval tasks on their data, checked before anything is spent.

lm-eval itself notices missing documents only when it draws from them, and does not name the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.gab.errors import InputError

SCORED = ("test_split", "validation_split")
"""Keys of the split that is scored; the first that a task has counts."""

DRAWN = ("training_split", "validation_split", "test_split")
"""Keys of the split that few-shot examples come from, where `fewshot_split` names none."""


@dataclass(frozen=True)
class Demands:
    """The splits that a task scores and draws its few-shot examples from, and how many of these.

    `drawn` is None where its file lists the examples, or where code brings them; `listed` is how
    many it lists.  `processed`: code makes the documents from those of the split, so that only a
    worker knows how many there are.

    Args:
        where: the task's file, for errors.
        fix: what to do where the file itself is none of the user's, in place of changing it.
    """

    name: str
    where: str
    scored: str
    drawn: str | None
    listed: int | None
    shots: int
    processed: bool
    fix: str = ""

    @property
    def draws_from_scored(self) -> bool:
        """Whether a question may be drawn as an example for itself."""
        return self.drawn == self.scored

    def check_splits(self, sizes: Mapping[str, int]) -> None:
        """Compare with the number of documents by split.

        Raises:
            InputError: a split is not there, is empty, or has too few documents to draw from.
        """
        for use, split in (("scores", self.scored), ("draws examples from", self.drawn)):
            if split is not None and split not in sizes:
                raise self._refused(
                    f"{use} the split {split!r}, and its data have only"
                    f" {', '.join(map(repr, sizes)) or 'none'}",
                    "name one of these in the task's file",
                )
        if not self.processed:
            self.check_counts(sizes[self.scored], self._pool(sizes))

    def check_counts(self, scored: int, pool: int | None) -> None:
        """Compare with the number of documents that are scored, and to draw examples from.

        Raises:
            InputError: there are none to score, or fewer to draw from than are asked for.
        """
        if scored == 0:
            raise self._refused(
                f"scores the split {self.scored!r}, which has no documents", "give it some"
            )
        if pool is not None and self.shots > (left := max(0, pool - self.draws_from_scored)):
            raise self.too_few(left, pool)

    def too_few(self, left: int, pool: int) -> InputError:
        """Return the error of a task with fewer examples than it asks for; `left` can be used."""
        place = "fewshot_config" if self.drawn is None else f"the split {self.drawn!r}"
        kept = f", {left} of them without the question itself" if left < pool else ""
        return self._refused(
            f"asks for {self.shots} few-shot examples (num_fewshot), and {place} has"
            f" {pool} documents{kept}",
            f"set num_fewshot to {left} or less, or add documents",
        )

    def _pool(self, sizes: Mapping[str, int]) -> int | None:
        return self.listed if self.drawn is None else sizes[self.drawn]

    def _refused(self, what: str, hint: str) -> InputError:
        return InputError(f"the task {self.name} {what}", where=self.where, hint=self.fix or hint)


def read_demands(name: str, where: str, config: Mapping[str, Any], fix: str = "") -> Demands:
    """Read the demands of a task from its configuration: its file, or lm-eval's reading of it.

    Raises:
        InputError: it scores no split, or `num_fewshot` is no number of examples.
    """
    shots = config.get("num_fewshot") or 0
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 0:
        raise InputError(
            f"the task {name} has num_fewshot = {shots!r}", where=where, hint="give a whole number"
        )
    scored = next((config[key] for key in SCORED if config.get(key) is not None), None)
    if scored is None:
        raise InputError(
            f"the task {name} names no split to score",
            where=where,
            hint=f"add {' or '.join(SCORED)}",
        )
    found = config.get("fewshot_config") or {}
    few: Mapping[str, Any] = found if isinstance(found, Mapping) else vars(found)
    drawn = few.get("split") or config.get("fewshot_split")
    samples = few.get("samples")
    if drawn is None and samples is None:
        drawn = next(config[key] for key in DRAWN if config.get(key) is not None)
    listed = len(samples) if drawn is None and isinstance(samples, list) else None
    processed = bool(config.get("process_docs") or few.get("process_docs"))
    return Demands(name, where, scored, drawn, listed, shots, processed, fix)


def loaded_demands(name: str, where: str, task: Any, fix: str = "") -> Demands:
    """Read the demands of a loaded task; its class may decide what its file leaves open.

    Raises:
        InputError: it scores no split, or `num_fewshot` is no number of examples.
    """
    config = dict(vars(task.config))
    for key in DRAWN:
        kind = key.removesuffix("_split")
        if config.get(key) is None and getattr(task, f"has_{kind}_docs")():
            config[key] = kind
    return read_demands(name, where, config, fix)
