"""What a run tried, and what came of it: an index over its designs, found by words and meaning.

The index lies in the run's folder, holds only what never changes (a design's change, tree and
findings) and can be deleted at any time: it is made again from the store.  Outcomes are read
from the store when one asks.  The embedding is the one that gives the same vectors on every
machine, because what is found here may enter a decision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from genesys_engine.engine.store import DesignRow, Store
from genesys_engine.engine.views.leaderboard import scale_names
from genesys_engine.engine.views.text import percent
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.knowledge.base import Hit, KnowledgeBase
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.embeddings import Embedding

FOLDER = "memory"
DESIGN, PROPOSAL = "design", "proposal"
SAME = 0.6
"""Cosine of two sentences from which on they say the same; measured for both built-in embeddings
in experiments/bench/near_duplicates.py.  It counts words: "A replaced by B" and "B replaced by
A" are near to each other, so what is found is shown to a designer and not dropped unseen."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Attempt:
    """Something that was tried or proposed, and what came of it.

    `similarity` is the cosine between the idea and the sentence that tells the attempt;
    `same_numbers` is false where both give numbers and these differ, which makes another
    experiment of an equal sentence.  `outcome` is "rejected", "failed", "verified", "untested"
    or "proposed"; `told` says it in one line.
    """

    id: str
    idea: str
    similarity: float
    same_numbers: bool
    outcome: str
    told: str
    design: int | None = None
    parents: tuple[int, ...] = ()
    fitness: float | None = None
    rung: str | None = None
    findings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the attempt as the command line gives it out."""
        return asdict(self)

    def __str__(self) -> str:
        """Return two lines: what was tried, and what came of it."""
        name = f"design {self.design}" if self.design is not None else self.id
        return f"{name} ({self.similarity:.2f}): {self.idea}\n    {self.told}"


class RunMemory:
    """Searches what a run tried.

    Args:
        store: the run.
        embedding: another embedding than the one that is the same on every machine.
    """

    def __init__(self, store: Store, embedding: Embedding | str = "hashed") -> None:
        self._store = store
        self._scales = scale_names(store)
        self._base = KnowledgeBase(store.folder / FOLDER, embedding)
        self._indexed = max((_number(e.id) for e in self._base.documents(DESIGN)), default=-1)

    def refresh(self) -> int:
        """Index the designs that have come since; return their number."""
        added = self._base.add(self._new_designs())
        return added.new + added.updated

    def propose(self, key: str, text: str) -> None:
        """Remember a proposal that is not (yet) a design, under a key of its own."""
        self._base.add([Document(f"{PROPOSAL}:{key}", text, "", PROPOSAL)])

    def near(
        self,
        idea: str,
        limit: int = 5,
        *,
        before: int | None = None,
        before_verification: int | None = None,
    ) -> list[Attempt]:
        """Return what was tried nearest to `idea`, best first.

        Args:
            idea: what one thinks of trying, in words.
            before: only designs with a smaller number: what a decision may see.  Equal for
                equal designs below it, whatever else the run has; proposals are left out.
            before_verification: likewise for the verifications that tell outcomes.
        """
        self.refresh()
        if before is None:
            kept = self._base.search(idea, 4 * limit)
            places = [hit.rank for hit in kept]
        else:
            # Ranks depend on whatever else is in the index by now, which differs from run to
            # run; a decision is given what is nearest by the sentence alone.
            hits = self._base.search(idea, self._indexed + 1)
            kept = [h for h in hits if h.source == DESIGN and _number(h.id) < before]
            places = [_number(hit.id) for hit in kept]
        similar = self._similarities(idea, kept)
        # The index ranks by tree and findings too; the sentence decides what is nearest.
        order = sorted(range(len(kept)), key=lambda i: (-similar[i], places[i]))[:limit]
        return [self._attempt(kept[i], idea, similar[i], before_verification) for i in order]

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
            and (parents is None or attempt.design is None or attempt.parents == tuple(parents))
        ]

    # --- the index ---------------------------------------------------------------------------

    def _new_designs(self) -> Iterator[Document]:
        for row in self._store.designs():
            if row.id > self._indexed:
                yield self._document(row)
                self._indexed = row.id

    def _document(self, row: DesignRow) -> Document:
        tree = GABTree.from_json(self._store.tree(row.id)).describe()
        text = "\n\n".join([*self._findings(row.id), f"Operator {row.operator}.", tree])
        return Document(f"{DESIGN}:{row.id}", row.change, text, DESIGN, tags=(row.operator,))

    def _findings(self, design: int) -> list[str]:
        found = self._store.report(design)["findings"]
        return [f"{f['code']}: {f['message']} {f['advice']}" for f in found]

    def _similarities(self, idea: str, hits: Sequence[Hit]) -> list[float]:
        vectors = self._base.embedding.embed([idea, *(hit.title for hit in hits)])
        return [float(value) for value in vectors[1:] @ vectors[0]]

    # --- outcomes ----------------------------------------------------------------------------

    def _attempt(self, hit: Hit, idea: str, similarity: float, before: int | None) -> Attempt:
        known = partial(
            Attempt,
            id=hit.id,
            idea=hit.title,
            similarity=similarity,
            same_numbers=_numbers(idea) == _numbers(hit.title),
        )
        if hit.source == PROPOSAL:
            return known(outcome="proposed", told="proposed, not made")
        row = self._store.design(_number(hit.id))
        findings = tuple(self._findings(row.id))
        outcome, told, fitness, rung = self._outcome(row, findings, before)
        return known(
            design=row.id,
            parents=row.parents,
            outcome=outcome,
            told=told,
            fitness=fitness,
            rung=rung,
            findings=findings,
        )

    def _outcome(
        self, row: DesignRow, findings: Iterable[str], before: int | None
    ) -> tuple[str, str, float | None, str | None]:
        """Return (outcome, the line that tells it, mean gain, highest rung)."""
        if not row.accepted:
            return "rejected", f"rejected by its check: {'; '.join(findings)}", None, None
        rows = [v for v in self._store.verifications(row.id) if before is None or v.id < before]
        first = [v for v in rows if v.replicate == 0]
        gains = {v.rung: v.fitness for v in first if v.fitness is not None}
        failed = [v for v in first if v.fitness is None]
        if gains:
            fitness, rung = sum(gains.values()) / len(gains), self._scales[max(gains)]
            told = f"gain {percent(fitness)} up to {rung}"
            told += "".join(f"; failed at {self._scales[v.rung]}: {v.reason}" for v in failed)
            return "verified", told, fitness, rung
        if failed:
            last = failed[-1]
            return "failed", f"failed at {self._scales[last.rung]}: {last.reason}", None, None
        return "untested", "not yet verified", None, None


def _number(name: str) -> int:
    return int(name.partition(":")[2])


def _numbers(text: str) -> list[str]:
    """Return the numbers of a text, sorted; digits within names don't count."""
    return sorted(NUMBER.findall(text))
