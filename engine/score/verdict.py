"""What a run has found: its best child against its parent, the best seed and the reference.

Facts alone, from what the store holds, so that an active run is judged as a finished one is;
`views.verdict` says them in words.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from genesys_engine.engine.score.finals import Finals, finals_in
from genesys_engine.engine.score.noise import Noise, fitness_sigma, noise_of_mean
from genesys_engine.engine.score.noise_floor import NoiseFloor, noise_floor
from genesys_engine.engine.score.race import Race, Standing, hold
from genesys_engine.engine.score.standing import BETTER, interval_standing, standing
from genesys_engine.engine.store.event_types import Comparison, FreshResult, RunFinished
from genesys_engine.engine.store.names import scale_names, seed_name
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import DesignRow, Store

PARENT, BEST_SEED, REFERENCE, SEED = "parent", "best seed", "reference", "seed"
"""What the best child is compared with, in the order of what a reader wants to know; with the
other seeds where finals were held."""


@dataclass(frozen=True)
class EverySeed:
    """Whether the best child is better than every seed.

    `better` says so of those that the finals have compared it with: the whole interval of each
    difference lies above 0.  `left_out` are the seeds that were not in the finals, or failed there.
    """

    better: bool
    left_out: tuple[int, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether it may be called better than every seed."""
        return self.better and not self.left_out


@dataclass(frozen=True)
class Verdict:
    """The best design, the best child, and what the child is compared with.

    With finals the best design is who leads the race, seeds included, the best child is the best
    finalist, `fitness` its mean gain with fresh seeds, and `every_seed` whether it is better than
    all of them.  `sigma` is the noise of `fitness`, `trainings` how often the reference was trained
    at the lowest rung to know it.
    """

    best: int | None
    best_child: int | None = None
    rung: int | None = None
    fitness: float | None = None
    reference: int | None = None
    sigma: float | None = None
    trainings: int = 0
    comparisons: tuple[Comparison, ...] = ()
    finalists: tuple[Standing, ...] = ()
    every_seed: EverySeed | None = None

    def record(self, sentences: Sequence[str]) -> RunFinished:
        """Return it as the log has it, with the sentences that say it."""
        every = self.every_seed
        return RunFinished(
            best=self.best,
            best_child=self.best_child,
            rung=self.rung,
            fitness=self.fitness,
            reference=self.reference,
            sigma=self.sigma,
            comparisons=self.comparisons,
            finalists=None if every is None else tuple(map(fresh_result, self.finalists)),
            better_than_every_seed=None if every is None else every.shown,
            seeds_left_out=None if every is None else every.left_out,
            verdict=" ".join(sentences),
            sentences=tuple(sentences),
        )


def fresh_result(standing: Standing) -> FreshResult:
    """Return how a design stands in the finals, in numbers and in one word."""
    over = standing.over_reference
    return FreshResult(
        standing.design,
        over.mean,
        over.low,
        over.high,
        standing.gains,
        interval_standing(over.low, over.high),
        standing.out_after,
        standing.failed,
    )


def judge(store: Store) -> Verdict:
    """Judge a run as far as it has come; the finals count from their first look on.

    A design that is disqualified or in question has no standing (see `confirmations`): it is not
    named, nor compared with, whatever it scored.
    """
    floor = noise_floor(store)
    ranked = store.leaderboard()
    race = race_of(store, floor)
    raced = race.standings(race.entries.designs)
    best = raced[0].design if raced else ranked[0].id if ranked else None
    finalists = tuple(each for each in raced if each.design in race.entries.children)
    if finalists:
        child = store.design(finalists[0].design)
    else:
        children = (row for row in ranked if seed_name(row.operator) is None)
        found = next(children, None)
        if found is None:
            return Verdict(best, reference=floor.reference)
        child = found
    assert child.rung is not None
    seeds = [row for row in ranked if seed_name(row.operator) is not None]
    jury = _Jury(store, floor, race, scale_names(store))
    comparisons = jury.compare(child, seeds)
    return Verdict(
        best,
        child.id,
        len(floor.noise) - 1 if finalists else child.rung,
        finalists[0].over_reference.mean if finalists else child.fitness,
        floor.reference,
        floor.sigmas[-1] if finalists else fitness_sigma(floor.sigmas, child.rung),
        jury.trainings,
        comparisons,
        finalists,
        _every_seed(store, comparisons) if finalists else None,
    )


def _every_seed(store: Store, comparisons: Sequence[Comparison]) -> EverySeed:
    """Say whether the child is better than every seed, of those that are not disqualified."""
    out = store.disqualified()
    seeds = [
        row.id
        for row in store.designs()
        if row.accepted and row.id not in out and seed_name(row.operator) is not None
    ]
    standings = {each.design: each.standing for each in comparisons if each.seeds}
    return EverySeed(
        better=all(standings.get(seed, BETTER) == BETTER for seed in seeds),
        left_out=tuple(seed for seed in seeds if seed not in standings),
    )


def race_of(store: Store, floor: NoiseFloor) -> Race:
    """Return the race of the finals as far as it has come; nobody entered before they open."""
    entries = finals_in(store.meta("state", {})).entries
    if not entries:
        return Race(entries)
    finals, top = Finals(entries), len(floor.noise) - 1
    for row in store.verifications():
        if is_fresh(row.replicate) and row.rung == top:
            finals.done.add((row.design, row.replicate))
            if row.fitness is not None:
                finals.gains.setdefault(row.design, {})[row.replicate] = row.fitness
    seeds = store.meta("experiment")["ladder"]["finalist_seeds"]
    return hold(finals, seeds, _pair(floor.noise[-1]))


@dataclass
class _Jury:
    """Compares the best child with others, by the same rule for all of them."""

    store: Store
    floor: NoiseFloor
    race: Race
    scales: tuple[str, ...]
    _gains: dict[int, Mapping[int, float]] = field(default_factory=dict)

    @property
    def trainings(self) -> int:
        """How often the reference was trained at the lowest rung."""
        lowest = self.floor.noise[0]
        return 0 if lowest is None else lowest.trainings

    def compare(self, child: DesignRow, seeds: Sequence[DesignRow]) -> tuple[Comparison, ...]:
        """Return the comparisons, one for each design, in the order of the first roles."""
        raced = [each.design for each in self.race.standings(self.race.entries.seeds)]
        raced = [seed for seed in raced if self.race.difference(child.id, seed)]
        best = raced[0] if raced else self._nearest(child, [row.id for row in seeds])
        rivals = [
            (PARENT, self._nearest(child, child.parents)),
            (BEST_SEED, best),
            (REFERENCE, self.floor.reference),
            *((SEED, seed) for seed in raced if seed not in (best, self.floor.reference)),
        ]
        roles: dict[int, list[str]] = {}
        for role, rival in rivals:
            if rival is not None and not (role == SEED and rival in roles):
                roles.setdefault(rival, []).append(role)
        return tuple(self._compared(child, rival, tuple(roles[rival])) for rival in roles)

    def _nearest(self, child: DesignRow, rivals: Sequence[int]) -> int | None:
        """Return the rival that shares most rungs with the child, and of those the best."""
        keys = {}
        for rival in rivals:
            if rival != child.id and (shared := self._shared(child.id, rival)):
                mean = statistics.fmean(self._gain(rival, rung) for rung in shared)
                keys[rival] = (len(shared), mean, -rival)
        return max(keys, key=lambda rival: keys[rival], default=None)

    def _compared(self, child: DesignRow, rival: int, roles: tuple[str, ...]) -> Comparison:
        found = self._fresh(child.id, rival) or self._on_the_ladder(child.id, rival)
        return replace(found, roles=roles)

    def _fresh(self, child: int, rival: int) -> Comparison | None:
        """Compare at the last look of the finals that both took part in; None: there is none."""
        found = self.race.difference(child, rival)
        if found is None:
            return None
        return Comparison(
            design=rival,
            name=self._name(rival),
            difference=found.mean,
            scales=self.scales[-1:],
            standing=interval_standing(found.low, found.high),
            seeds=found.seeds,
            low=found.low,
            high=found.high,
        )

    def _on_the_ladder(self, child: int, rival: int) -> Comparison:
        """Compare over the rungs that both were trained at."""
        rungs = self._shared(child, rival)
        mean = statistics.fmean(self._gain(child, r) - self._gain(rival, r) for r in rungs)
        noise_of = _gain_noise if rival == self.floor.reference else _pair
        sigma = noise_of_mean([noise_of(self.floor.noise[rung]) for rung in rungs])
        return Comparison(
            design=rival,
            name=self._name(rival),
            difference=mean,
            scales=tuple(self.scales[rung] for rung in rungs),
            standing=standing(mean, sigma),
            sigma=sigma,
        )

    def _name(self, design: int) -> str:
        return seed_name(self.store.design(design).operator) or f"#{design}"

    def _shared(self, child: int, rival: int) -> list[int]:
        own = self._gains_of(child)
        if rival == self.floor.reference:
            return sorted(own)
        return sorted(own.keys() & self._gains_of(rival).keys())

    def _gain(self, design: int, rung: int) -> float:
        """Return the gain at a rung; that of the reference is 0 by what a gain is."""
        return 0.0 if design == self.floor.reference else self._gains_of(design)[rung]

    def _gains_of(self, design: int) -> Mapping[int, float]:
        """Return rung -> gain of the trainings that rank a design."""
        if design not in self._gains:
            stands = self.store.design(design).rung is not None
            rows = self.store.verifications(design) if stands else ()
            ranked = {r.rung: r.fitness for r in rows if r.replicate == 0}
            self._gains[design] = {r: g for r, g in ranked.items() if g is not None}
        return self._gains[design]


def _pair(noise: Noise | None) -> float | None:
    return None if noise is None else noise.pair


def _gain_noise(noise: Noise | None) -> float | None:
    return None if noise is None else noise.gain
