"""Search strategies that follow from the order in which designs came: aging, and local search.

At a few hundred evaluations both are hard to beat (Real et al. 2019; White et al. 2021, "Exploring
the Loss Landscape in Neural Architecture Search").  Designs are numbered in the order in which they
were made, so what a strategy has to remember it reads from the candidates: it has no state of its
own, and a resumed run continues as it would have.
"""

from __future__ import annotations

import random

import numpy as np
from pydantic import Field

from genesys_engine.engine.select.selectors import RandomSelector, SelectionOptions
from genesys_engine.plugins.api import Candidates


class AgingOptions(SelectionOptions):
    """Options of `aging`."""

    sample: int = Field(5, ge=1, description="candidates that are drawn, the best of which varies")


class AgingSelector(RandomSelector):
    """Regularised evolution (Real et al. 2019, arXiv 1802.01548): the oldest die, however good.

    A lucky training leads for the life of one design only: its descendants have to do as well
    again.  The published algorithm lets one die for each that is born, as `[population] offspring
    = 1` does.
    """

    Options = AgingOptions
    options: AgingOptions

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Draw a sample and take the best of it, until `count` distinct ones are found."""
        chosen: list[int] = []
        while len(chosen) < min(count, len(candidates)):
            free = [i for i in range(len(candidates)) if i not in chosen]
            drawn = rng.choices(free, k=self.options.sample)  # with replacement, as published
            chosen.append(min(drawn, key=lambda i: (-candidates.fitness[i], candidates.design[i])))
        return chosen

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Take the best of one sample."""
        return self.parents(candidates, 1, rng)[0]

    def survivors(self, candidates: Candidates, count: int) -> list[int]:
        """Keep the youngest."""
        return _youngest_first(candidates)[:count]


class LocalOptions(SelectionOptions):
    """Options of `local`."""

    margin: float = Field(
        0.5,
        ge=0,
        description="percent that a child must gain over the incumbent to replace it while it was"
        " not verified at more rungs: what the noise of training allows",
    )
    batch: int = Field(
        1,
        ge=1,
        description="children of an incumbent before the best of them may replace it; 1: the first"
        " better one does",
    )
    patience: int = Field(
        12,
        ge=1,
        description="children without a better one before the search restarts; less than the"
        " population's `size`, which is all that is remembered",
    )


class LocalSelector(RandomSelector):
    """Local search: all children are changes of one incumbent, until one of them replaces it.

    A child does so with `margin` percent more, which is what noise allows, or with more at all once
    it was verified at more rungs than the incumbent; of the first `batch` children the best does,
    so that a small gain does not end the search of a neighbourhood.  After `patience` designs
    without one the search is dry: it restarts from the best design that has not been the incumbent
    yet.
    """

    Options = LocalOptions
    options: LocalOptions

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Take the incumbent; a second parent is any other."""
        if not count or not len(candidates):
            return []
        incumbent = self.incumbent(candidates)
        others = [i for i in range(len(candidates)) if i != incumbent]
        return [incumbent, *rng.sample(others, min(count - 1, len(others)))]

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Take the best: it may replace the incumbent."""
        return super().survivors(candidates, 1)[0]

    def survivors(self, candidates: Candidates, count: int) -> list[int]:
        """Keep the incumbent and the youngest, which the patience counts."""
        if not len(candidates):
            return []
        incumbent = self.incumbent(candidates)
        others = [i for i in _youngest_first(candidates) if i != incumbent]
        return [incumbent, *others][:count]

    def incumbent(self, candidates: Candidates) -> int:
        """Return the position of the incumbent, found by going through the designs as they came."""
        fitness = candidates.fitness
        incumbent, seen, dry, tried = 0, 0, 0, {0}
        leader: int | None = None  # the best that may replace it once the batch is complete
        for position in range(1, len(candidates)):
            seen += 1
            if self._replaces(candidates, position, incumbent) and (
                leader is None or fitness[position] > fitness[leader]
            ):
                leader = position
            dry = dry + 1 if leader is None else 0
            if leader is not None and seen >= self.options.batch:
                incumbent, leader, seen = leader, None, 0
            elif dry >= self.options.patience:
                fresh = [i for i in range(position + 1) if i not in tried]
                incumbent = max(fresh, key=lambda i: fitness[i], default=incumbent)
                seen, dry = 0, 0
            tried.add(incumbent)
        return incumbent

    def _replaces(self, candidates: Candidates, child: int, incumbent: int) -> bool:
        ahead = candidates.fitness[child] - candidates.fitness[incumbent]
        promoted = candidates.confidence[child] > candidates.confidence[incumbent]
        return bool(ahead > (0.0 if promoted else self.options.margin))


def _youngest_first(candidates: Candidates) -> list[int]:
    return [int(i) for i in np.argsort(-candidates.design, kind="stable")]
