"""Selection: who becomes a parent, who climbs the ladder, who stays in the population.

Ageing and local search are in `strategies`; how many parents a child has, in `policy`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import tools
from pydantic import Field, field_validator

from genesys_engine.engine.common.randomness import as_global_random
from genesys_engine.engine.score.fitness import DesignFitness
from genesys_engine.plugins.api import Candidates, Options
from genesys_engine.plugins.kinds import OBJECTIVES


class SelectionOptions(Options):
    """Options that every selector has."""

    exploration: float = Field(0.2, ge=0, le=1, description="probability to explore")


class RandomSelector:
    """Every candidate alike: the control for the other selectors."""

    Options: type[SelectionOptions] = SelectionOptions

    def __init__(self, options: SelectionOptions) -> None:
        self.options = options

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Draw `count` distinct candidates uniformly."""
        return rng.sample(range(len(candidates)), min(count, len(candidates)))

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Draw one candidate uniformly."""
        return rng.randrange(len(candidates))

    def survivors(self, candidates: Candidates, count: int) -> list[int]:
        """Keep the best by fitness; ties go to the older design."""
        return [int(position) for position in _best_first(candidates)[:count]]


class QuadrantSelector(RandomSelector):
    """The published selection (arXiv 2506.20249, appendix): rank by fitness and by confidence.

    The top quarter on each axis makes four quadrants.  Designers exploit the good and
    confident and explore the poor and confident; verifiers exploit the good and unconfident and
    explore the poor and unconfident.  An empty quadrant falls back to all candidates with the
    same standing in fitness.
    """

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Draw distinct parents, each from the quadrant that chance assigns it."""
        good, confident = _top_quarter(candidates)
        chosen: list[int] = []
        for _ in range(min(count, len(candidates))):
            wanted = ~good if rng.random() < self.options.exploration else good
            free = np.ones(len(candidates), dtype=bool)
            free[chosen] = False
            chosen.append(_draw(rng, free, wanted, confident))
        return chosen

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Draw the design to verify next."""
        good, confident = _top_quarter(candidates)
        wanted = ~good if rng.random() < self.options.exploration else good
        return _draw(rng, np.ones(len(candidates), dtype=bool), wanted, ~confident)


class TournamentOptions(SelectionOptions):
    """Options of `tournament`."""

    size: int = Field(3, ge=1, description="candidates that meet in one tournament")


class TournamentSelector(RandomSelector):
    """The best of `size` candidates drawn at random (DEAP's `selTournament`)."""

    Options = TournamentOptions
    options: TournamentOptions

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Hold tournaments until `count` distinct winners are found."""
        pool = _individuals(candidates)
        chosen: list[int] = []
        with as_global_random(rng):
            while pool and len(chosen) < count:
                winner = tools.selTournament(pool, 1, self.options.size)[0]
                chosen.append(winner.position)
                pool = [individual for individual in pool if individual is not winner]
        return chosen

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Hold one tournament."""
        return self.parents(candidates, 1, rng)[0]


class Nsga2Options(SelectionOptions):
    """Options of `nsga2`."""

    objectives: str = Field(
        "+".join(OBJECTIVES),
        description="objectives, joined by +: quality (the fitness), parameters (fewer),"
        " speed (fewer FLOPs per token), and names of scores: the gain in each",
    )

    @field_validator("objectives")
    @classmethod
    def _each_once(cls, text: str) -> str:
        names = text.split("+")
        if len(set(names)) < len(names) or "" in names:
            raise ValueError("it must be names joined by +, each once")
        return text

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives one by one."""
        return tuple(self.objectives.split("+"))


class Nsga2Selector(RandomSelector):
    """Non-dominated sorting with crowding (Deb et al. 2002) over quality, parameters and speed.

    Speed is FLOPs per token, which can be repeated, and not seconds, which cannot.  An objective
    of another name is a score: what counts is the gain in it over the reference.
    """

    Options = Nsga2Options
    options: Nsga2Options

    @staticmethod
    def metrics(options: Nsga2Options) -> tuple[str, ...]:
        """Return the objectives that are scores."""
        return tuple(name for name in options.names if name not in OBJECTIVES)

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Draw from the better half of the non-dominated order."""
        order = self.survivors(candidates, max(count, (len(candidates) + 1) // 2))
        return rng.sample(order, min(count, len(order)))

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Draw from the first front (found by log-time sorting)."""
        pool = _individuals(candidates, self.options.names)
        front = tools.sortLogNondominated(pool, len(pool), first_front_only=True)
        return int(rng.choice(sorted(individual.position for individual in front)))

    def survivors(self, candidates: Candidates, count: int) -> list[int]:
        """Keep `count` by front and crowding distance (DEAP's `selNSGA2`, log-time sorting)."""
        pool = _individuals(candidates, self.options.names)
        if not pool:
            return []
        return [kept.position for kept in tools.selNSGA2(pool, min(count, len(pool)), nd="log")]


class _Individual:
    """A candidate as DEAP's tools want it: an object with a `fitness`."""

    __slots__ = ("fitness", "position")

    def __init__(
        self, position: int, values: tuple[float, ...], weights: tuple[float, ...]
    ) -> None:
        self.position = position
        self.fitness = DesignFitness(values, weights)


def _individuals(
    candidates: Candidates, objectives: Sequence[str] = tuple(OBJECTIVES)
) -> list[_Individual]:
    """Wrap the candidates; a single objective gets a constant next to it, for DEAP's log sort."""
    columns, weights = [], []
    for name in objectives:
        array, weight = OBJECTIVES.get(name, ("", 1.0))
        columns.append(getattr(candidates, array) if array else candidates.metrics[name])
        weights.append(weight)
    if len(columns) == 1:
        columns.append(np.zeros(len(candidates)))
        weights.append(1.0)
    signs = tuple(weights)
    rows = np.stack(columns, axis=1)
    return [_Individual(i, tuple(map(float, row)), signs) for i, row in enumerate(rows)]


def _best_first(candidates: Candidates) -> Any:
    """Return the positions, best fitness first; ties go to the older design."""
    return np.lexsort((candidates.design, -candidates.fitness))


def _top_quarter(candidates: Candidates) -> tuple[Any, Any]:
    """Return the masks of the top quarter by fitness and by confidence.

    Fitness has no ties that matter; confidence is all ties, so its quarter is everything at
    least as confident as the candidate on the border.
    """
    quarter = max(1, -(-len(candidates) // 4))
    good = np.zeros(len(candidates), dtype=bool)
    good[_best_first(candidates)[:quarter]] = True
    border = np.sort(candidates.confidence)[::-1][quarter - 1]
    return good, candidates.confidence >= border


def _draw(rng: random.Random, free: Any, wanted: Any, preferred: Any) -> int:
    for mask in (free & wanted & preferred, free & wanted, free & preferred, free):
        found = np.flatnonzero(mask)
        if len(found):
            return int(found[rng.randrange(len(found))])
    raise ValueError("no candidate left to draw")
