"""What a run tried, and what came of it, found by words and meaning.

The index is held in memory and made from the store, which keeps everything that it needs: there
is nothing that could be torn or fall behind.  Cosines are exact and the embedding gives the same
vectors on every machine, because what is found here may enter a decision: with `before` it depends
on the designs below it alone, whatever else the run has meanwhile.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from genesys_engine.engine.common.text import percent
from genesys_engine.engine.propose.vectors import Vectors
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.plugins.knowledge.embeddings import Embedding, open_embedding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BODY_WEIGHT = 0.25
"""Of an attempt's tree and findings against 1 for the sentence that tells it."""
SAME = 0.6
"""Cosine of two sentences from which on they say the same; measured for both built-in embeddings
in experiments/bench/near_duplicates.py.  It counts words: "A replaced by B" and "B replaced by
A" are near to each other, so what is found is shown to a designer and not dropped unseen."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Attempt:
    """A design that was tried, and what came of it.

    `nearness` is what attempts are sorted by, at most 1: the mean of the cosines between the idea
    and the attempt's sentence and (`BODY_WEIGHT`) body; `similarity` is that to the sentence alone;
    `same_numbers` is false where both give numbers and these differ, which makes another
    experiment of an equal sentence.  `outcome` is "rejected", "disqualified", "failed", "verified"
    or "untested"; `summary` says it in one line.
    """

    id: str
    idea: str
    similarity: float
    same_numbers: bool
    outcome: str
    summary: str
    design: int
    parents: tuple[int, ...] = ()
    fitness: float | None = None
    rung: str | None = None
    findings: tuple[str, ...] = ()
    nearness: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return the attempt as the command line gives it out."""
        return asdict(self)

    def __str__(self) -> str:
        """Return two lines: what was tried, and what came of it."""
        return f"design {self.design} ({self.similarity:.2f}): {self.idea}\n    {self.summary}"


@dataclass(frozen=True)
class _Item:
    """What is found: a design by its number."""

    design: int
    idea: str


class RunMemory:
    """Searches what a run tried; several threads may ask, one at a time is answered.

    Args:
        store: the run; opened so that threads may share it, where several ask.
        embedding: another embedding than the one that is the same on every machine.
    """

    def __init__(self, store: Store, embedding: Embedding | str = "hashed") -> None:
        self._store = store
        self._scales = scale_names(store)
        self._embedding = open_embedding(embedding) if isinstance(embedding, str) else embedding
        self._lock = threading.RLock()
        self._items: list[_Item] = []
        self._sentences, self._bodies = Vectors(), Vectors()
        self._indexed = -1

    def __len__(self) -> int:
        """Return how many designs are known."""
        return len(self._items)

    def refresh(self) -> int:
        """Index the designs that have come since; return their number."""
        with self._lock:
            fresh = self._store.designs(after=self._indexed)
            count = 0
            for row in fresh:
                found = findings_of(self._store, row.id)
                body = " ".join([*found, row.operator, self._words(row.id)])
                self._hold(_Item(row.id, row.change), body)
                self._indexed = row.id
                count += 1
            return count

    def near(
        self,
        idea: str,
        limit: int = 5,
        *,
        before: int | None = None,
        before_verification: int | None = None,
        before_task: int | None = None,
    ) -> list[Attempt]:
        """Return what was tried nearest to `idea`, best first.

        Args:
            idea: what one thinks of trying, in words.
            before: only designs with a smaller number: what a decision may see.
            before_verification: likewise for the verifications that outcomes rest on.
            before_task: likewise for the tasks that disqualify designs.
        """
        with self._lock:
            self.refresh()
            vector = self._embedding.embed([idea])[0]
            similar = self._sentences.cosines(vector)
            score = (similar + BODY_WEIGHT * self._bodies.cosines(vector)) / (1 + BODY_WEIGHT)
            seen = [i for i, one in enumerate(self._items) if _visible(one, before)]
            order = sorted(seen, key=lambda i: (-score[i], self._items[i].design))[:limit]
            return [
                replace(
                    self._attempt(
                        self._items[i], idea, float(similar[i]), before_verification, before_task
                    ),
                    nearness=float(score[i]),
                )
                for i in order
            ]

    def duplicates(
        self, idea: str, *, parents: Sequence[int] | None = None, before: int | None = None
    ) -> list[Attempt]:
        """Return what says the same as `idea`, with the same numbers.

        Args:
            idea: a proposal, before anything is spent on it.
            parents: of the design that is proposed; other parents make it another experiment.
            before: see `near`.
        """
        return [
            attempt
            for attempt in self.near(idea, 10, before=before)
            if attempt.similarity >= SAME
            and attempt.same_numbers
            and (parents is None or attempt.parents == tuple(parents))
        ]

    # --- the index ---------------------------------------------------------------------------

    def _hold(self, item: _Item, body: str) -> None:
        sentence, rest = self._embed([item.idea, body])
        self._items.append(item)
        self._sentences.add(sentence)
        self._bodies.add(rest)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embedding.embed(texts)

    def _words(self, design: int) -> str:
        """Return the names of a design's units, read from its tree as text."""
        return " ".join(sorted(self._store.unit_names(design)))

    # --- outcomes ----------------------------------------------------------------------------

    def _attempt(
        self,
        item: _Item,
        idea: str,
        similarity: float,
        before: int | None,
        before_task: int | None,
    ) -> Attempt:
        known = partial(
            Attempt,
            id=f"design:{item.design}",
            idea=item.idea,
            similarity=similarity,
            same_numbers=_numbers(idea) == _numbers(item.idea),
        )
        row = self._store.design(item.design)
        findings = tuple(findings_of(self._store, row.id))
        rows = self._store.verifications(row.id)
        seen = [v for v in rows if before is None or v.id < before]
        out = self._store.disqualification(row.id, before=before_task)
        outcome, summary, fitness, rung = outcome_of(row, findings, seen, self._scales, out)
        return known(
            design=row.id,
            parents=row.parents,
            outcome=outcome,
            summary=summary,
            fitness=fitness,
            rung=rung,
            findings=findings,
        )


def findings_of(store: Store, design: int) -> list[str]:
    """Return what the check of a design found, each in one line with how to fix it."""
    found = store.report(design).findings
    return [f"{each.code}: {first_line(each.message)} {each.advice}" for each in found]


def first_line(text: str) -> str:
    """Return what does not differ from time to time: the end of a log may follow it."""
    return text.partition("\n")[0]


def outcome_of(
    row: DesignRow,
    findings: Iterable[str],
    verifications: Iterable[VerificationRow],
    scales: Sequence[str],
    disqualified: str = "",
) -> tuple[str, str, float | None, str | None]:
    """Return (outcome, the line that tells it, mean gain, highest rung) of a design.

    Args:
        disqualified: the reason where it is; its gains then count for nothing.
    """
    if not row.accepted:
        return "rejected", f"rejected by its check: {'; '.join(findings)}", None, None
    if disqualified:
        return "disqualified", f"disqualified: {disqualified}", None, None
    first = [v for v in verifications if v.replicate == 0]
    gains = {v.rung: v.fitness for v in first if v.fitness is not None}
    failed = [v for v in first if v.fitness is None]
    if gains:
        fitness, rung = sum(gains.values()) / len(gains), scales[max(gains)]
        summary = f"gain {percent(fitness)} up to {rung}"
        summary += "".join(f"; failed at {scales[v.rung]}: {first_line(v.reason)}" for v in failed)
        return "verified", summary, fitness, rung
    if failed:
        last = failed[-1]
        return "failed", f"failed at {scales[last.rung]}: {first_line(last.reason)}", None, None
    return "untested", "not yet verified", None, None


def _visible(item: _Item, before: int | None) -> bool:
    return before is None or item.design < before


def _numbers(text: str) -> list[str]:
    """Return the numbers of a text, sorted; digits within names don't count."""
    return sorted(NUMBER.findall(text))
