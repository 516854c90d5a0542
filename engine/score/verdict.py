"""What a run has found: its best child against its parent, the best seed and the reference.

Facts alone, from what the store holds, so that a run under way is judged as a finished one is;
`views.verdict` says them in words.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from genesys_engine.engine.score.finals import Finals, Fresh, fresh_results, half_width
from genesys_engine.engine.score.noise import (
    NoiseFloor,
    fitness_sigma,
    interval_standing,
    noise_floor,
    standing,
)
from genesys_engine.engine.score.significance import Noise, noise_of_mean
from genesys_engine.engine.store.names import scale_names, seed_name
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import DesignRow, Store

PARENT, BEST_SEED, REFERENCE = "parent", "best seed", "reference"
"""What the best child is compared with, in the order of what a reader wants to know."""


@dataclass(frozen=True)
class Comparison:
    """The best child against one other design, which may play several roles.

    `difference` is in points of percent over the reference: the mean over `scales`, the rungs that
    both were trained at, with the noise `sigma` of such a mean; or the mean over `seeds` fresh
    seeds of the finals, with its interval from `low` to `high`.
    """

    design: int
    name: str
    difference: float
    scales: tuple[str, ...]
    standing: str
    roles: tuple[str, ...] = ()
    sigma: float | None = None
    seeds: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The best design, the best child, and what the child is compared with.

    With finals the best child is the best finalist and `fitness` its mean gain with fresh seeds;
    `sigma` is the noise of `fitness`, `trainings` how often the reference was trained at the lowest
    rung to know it.
    """

    best: int | None
    best_child: int | None = None
    rung: int | None = None
    fitness: float | None = None
    reference: int | None = None
    sigma: float | None = None
    trainings: int = 0
    comparisons: tuple[Comparison, ...] = ()
    finalists: tuple[Fresh, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the facts as the event `run.finished` has them."""
        keys = ("best", "best_child", "rung", "fitness", "reference", "sigma")
        told = {key: getattr(self, key) for key in keys}
        told["comparisons"] = [
            {**asdict(each), "roles": list(each.roles), "scales": list(each.scales)}
            for each in self.comparisons
        ]
        if self.finalists:
            told["finalists"] = [fresh_json(fresh) for fresh in self.finalists]
        return told


def fresh_json(fresh: Fresh) -> dict[str, Any]:
    """Return the result of a finalist as JSON data."""
    return {
        **{key: getattr(fresh, key) for key in ("design", "mean", "low", "high")},
        "gains": list(fresh.gains),
        "standing": interval_standing(fresh.low, fresh.high),
    }


def judge(store: Store) -> Verdict:
    """Judge a run as far as it has come.

    A design that is disqualified or in question has no standing (see `confirmations`): it is not
    named, nor compared with, whatever it scored.
    """
    floor = noise_floor(store)
    ranked = store.leaderboard()
    best = ranked[0].id if ranked else None
    finals = finals_of(store)
    finalists = tuple(fresh_results(finals, _pair(floor.noise[-1])))
    if finalists:
        child = store.design(finalists[0].design)
    else:
        children = (row for row in ranked if seed_name(row.operator) is None)
        found = next(children, None)
        if found is None:
            return Verdict(best, reference=floor.reference)
        child = found
    assert child.rung is not None
    jury = _Jury(store, floor, finals, len(finalists), scale_names(store))
    return Verdict(
        best,
        child.id,
        len(floor.noise) - 1 if finalists else child.rung,
        finalists[0].mean if finalists else child.fitness,
        floor.reference,
        floor.sigmas[-1] if finalists else fitness_sigma(floor.sigmas, child.rung),
        jury.trainings,
        jury.compare(child, [row for row in ranked if seed_name(row.operator) is not None]),
        finalists,
    )


def finals_of(store: Store) -> Finals:
    """Return what the finals have found so far; no designs where there are none."""
    found, named = Finals(), {row.id for row in store.leaderboard()}
    if not store.meta("experiment")["ladder"].get("finalists"):
        return found
    gains: dict[int, dict[int, float]] = {}
    for row in store.verifications():
        if is_fresh(row.replicate) and row.fitness is not None:
            gains.setdefault(row.design, {})[row.replicate] = row.fitness
    reference = noise_floor(store).reference
    others = sorted(d for d in gains if d != reference and d in named)
    if reference is not None and others:
        found.designs, found.gains = (reference, *others), gains
    return found


def fresh_of(floor: NoiseFloor, finals: Finals) -> list[dict[str, Any]]:
    """Return the finalists' results as JSON data, best first."""
    return [fresh_json(fresh) for fresh in fresh_results(finals, _pair(floor.noise[-1]))]


@dataclass
class _Jury:
    """Compares the best child with others, by the same rule for all of them."""

    store: Store
    floor: NoiseFloor
    finals: Finals
    finalists: int
    scales: tuple[str, ...]
    _gains: dict[int, Mapping[int, float]] = field(default_factory=dict)

    @property
    def trainings(self) -> int:
        """How often the reference was trained at the lowest rung."""
        lowest = self.floor.noise[0]
        return 0 if lowest is None else lowest.trainings

    def compare(self, child: DesignRow, seeds: Sequence[DesignRow]) -> tuple[Comparison, ...]:
        """Return the comparisons, one for each design, in the order of the first roles."""
        rivals = {
            PARENT: self._nearest(child, child.parents),
            BEST_SEED: self._nearest(child, [row.id for row in seeds]),
            REFERENCE: self.floor.reference,
        }
        roles: dict[int, list[str]] = {}
        for role, rival in rivals.items():
            if rival is not None:
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
        """Compare over the seeds of the finals; None where the two have none in common."""
        own = self.finals.gains.get(child, {})
        other = self.finals.gains.get(rival, {})
        if rival == self.floor.reference:  # gains are over it, seed by seed
            other = dict.fromkeys(own, 0.0)
        seeds = sorted(own.keys() & other.keys())
        if not seeds:
            return None
        differences = [own[seed] - other[seed] for seed in seeds]
        mean = statistics.fmean(differences)
        half = half_width(differences, _pair(self.floor.noise[-1]), comparisons=self.finalists)
        low, high = (None, None) if half is None else (mean - half, mean + half)
        return Comparison(
            design=rival,
            name=self._name(rival),
            difference=mean,
            scales=self.scales[-1:],
            standing=interval_standing(low, high),
            seeds=len(seeds),
            low=low,
            high=high,
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
