"""Finals: the best designs trained again with fresh seeds, before anything is reported of them.

Whoever leads after many trainings leads by quality and by luck.  What it gains with seeds that
had no part in choosing it is free of that luck.  Every seed of the population is trained with the
very same seeds, so that each difference compares two trainings on equal terms; `race` says who
drops out when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genesys_engine.engine.common.records import from_json

if TYPE_CHECKING:
    from genesys_engine.engine.score.fitness import Reading

MOST_RIVALS = 8
"""Seeds that enter the finals at most: a population may hold all designs of another run."""


def most_trainings(seeds: int, children: int, fresh: int) -> int:
    """Return how many trainings the finals take where nobody drops out.

    Args:
        seeds: of the population.
        children: that enter; without any there are no finals.
        fresh: training seeds for each design.
    """
    return (min(seeds, MOST_RIVALS) + children) * fresh if children else 0


@dataclass(frozen=True)
class Entries:
    """Who takes part: the seeds of the population, the reference first, and the best children.

    There are none until the finals open.
    """

    seeds: tuple[int, ...] = ()
    children: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether the finals are open."""
        return bool(self.seeds)

    @property
    def designs(self) -> tuple[int, ...]:
        """All of them, in the order in which they are trained."""
        return self.seeds + self.children

    @property
    def reference(self) -> int:
        """The design that gains are measured against."""
        return self.seeds[0]


@dataclass(frozen=True)
class FinalsProgress:
    """Who entered the finals, and how many looks are in the log."""

    entries: Entries = field(default_factory=Entries)
    seen: int = 0


@dataclass(frozen=True)
class _Saved:
    """What a saved state says of the finals; `finalists` is how an earlier version kept them."""

    finals: FinalsProgress | None = None
    finalists: tuple[int, ...] | None = None


def finals_in(state: object) -> FinalsProgress:
    """Return how far the finals are, from a saved state in JSON.

    A run that an earlier version began held its finals between the reference and the children.
    """
    saved = from_json(_Saved, state)
    if saved.finals is not None:
        return saved.finals
    if not saved.finalists:
        return FinalsProgress()
    reference, *children = saved.finalists
    return FinalsProgress(Entries((reference,), tuple(children)))


@dataclass
class Finals:
    """What the finals have issued and found.

    `issued` and `done` hold (design, replicate), done also what failed; `gains` are by design and
    replicate, in percent over the reference with the same seed, 0 for the reference itself;
    `references` are its readings by replicate.  `seen` counts the looks that are in the log.
    """

    entries: Entries = field(default_factory=Entries)
    issued: set[tuple[int, int]] = field(default_factory=set)
    done: set[tuple[int, int]] = field(default_factory=set)
    references: dict[int, Reading] = field(default_factory=dict)
    gains: dict[int, dict[int, float]] = field(default_factory=dict)
    seen: int = 0
