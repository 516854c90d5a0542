"""The race of the finals: who is trained on, and who can no longer win.

Everyone who entered is trained with the same fresh seeds.  After 2, 4, 8, ... of them, and after
the last, a *look* compares all with the leader.  Who is worse than the leader outside chance drops
out, and so does who failed a training that the reference did not.  Where a child leads, the best
seed stays in all the same: by how much the child beats it is what the finals are for.  The race is
over when one is left, when no child is left, or when all fresh seeds are used.

Racing by tests on paired results, block by block: Maron and Moore 1994 (Hoeffding races),
Birattari et al. 2002 (F-Race).  What is compared twice may be wrong twice, so one error of 5 % is
shared by all pairs of those who entered (Bonferroni) and by the looks, each in proportion to the
seeds that it adds (the linear spending function of Lan and DeMets 1983, added up without regard to
what the looks have in common).  Hence all intervals of a race, between any two at any look, hold
together with 95 %.

The reference is trained to the end, since gains are measured against it; it wins only while it
remains.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from genesys_engine.engine.score.finals import Entries, Finals
from genesys_engine.engine.score.significance import SIGMAS, normal_quantile, quantile
from genesys_engine.engine.store.event_types import Dropped, FinalsLook
from genesys_engine.engine.store.replicates import FRESH

FAILED, WORSE = "failed", "worse"
"""Why a design drops out."""

FIRST_LOOK = 2
"""Fresh seeds before the first look: one says nothing of the spread."""


def look_seeds(seeds: int) -> tuple[int, ...]:
    """Return after how many fresh seeds there is a look: 2, 4, 8, ... and `seeds`."""
    found, at = [], FIRST_LOOK
    while at < seeds:
        found.append(at)
        at *= 2
    return (*found, seeds)


@dataclass(frozen=True)
class Rule:
    """Who enters a race, when its looks are, and how wide its intervals.

    Args:
        entries: the designs that entered.
        looks: after how many fresh seeds each look is (`look_seeds`).
        pair: noise of the difference of two trainings as measured on the reference, in percent
            (`Noise.pair`); None where it was not.
    """

    entries: Entries
    looks: tuple[int, ...]
    pair: float | None

    def trained(self, remaining: Collection[int]) -> tuple[int, ...]:
        """Return who is trained on while `remaining` can win, in the order of training."""
        first = self.entries.reference
        return tuple(d for d in self.entries.designs if d in remaining or d == first)

    def comparisons(self, seeds: int) -> float:
        """Return by how much the error is divided for one pair at the look after `seeds`."""
        before = max((at for at in self.looks if at < seeds), default=0)
        pairs = max(1, math.comb(len(self.entries.designs), 2))
        return pairs * self.looks[-1] / (seeds - before)


@dataclass(frozen=True)
class Difference:
    """How much one design gained over another, in percent: mean over `seeds`, and its interval.

    `low` and `high` are None where neither several seeds nor a measured noise give one.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high is not None and self.high < 0


@dataclass(frozen=True)
class Look:
    """What a look has found.

    `gains` are in percent over the reference with the same seed, one row for each design that was
    still trained, none for one that failed; `remaining` are those that can still win.
    """

    seeds: int
    rule: Rule
    gains: Mapping[int, tuple[float, ...]]
    failed: tuple[int, ...] = ()
    leader: int | None = None
    remaining: tuple[int, ...] = ()
    behind: Mapping[int, Difference] = field(default_factory=dict)
    """Who drops out here for being worse than the leader: their differences from it."""

    @property
    def is_last(self) -> bool:
        """Whether the race is over with this look."""
        some_child = set(self.remaining) & set(self.rule.entries.children)
        return len(self.remaining) < 2 or not some_child or self.seeds == self.rule.looks[-1]

    @property
    def to_come(self) -> int:
        """How many trainings the race still takes at most."""
        seeds = self.rule.looks[-1] - self.seeds
        return 0 if self.is_last else len(self.rule.trained(self.remaining)) * seeds

    def record(self) -> FinalsLook:
        """Return it as the log has it."""
        failed = [Dropped(design, FAILED) for design in self.failed]
        worse = [
            Dropped(design, WORSE, out.mean, out.low, out.high, out.seeds)
            for design, out in self.behind.items()
        ]
        return FinalsLook(
            seeds=self.seeds,
            leader=self.leader,
            remaining=self.remaining,
            dropped=(*failed, *worse),
            to_come=self.to_come,
        )

    def mean(self, design: int) -> float:
        """Return the mean gain of a design over the reference."""
        return statistics.fmean(self.gains[design])

    def difference(self, one: int, other: int) -> Difference:
        """Return how much more `one` has gained than `other`, seed by seed."""
        if one == other:
            return Difference(0.0, 0.0, 0.0, len(self.gains[one]))
        pairs = zip(self.gains[one], self.gains[other], strict=True)
        differences = [first - second for first, second in pairs]
        mean, half = statistics.fmean(differences), self._half_width(differences)
        low, high = (None, None) if half is None else (mean - half, mean + half)
        return Difference(mean, low, high, len(differences))

    def _half_width(self, differences: Sequence[float]) -> float | None:
        """Return half the width of the interval around the mean of paired differences.

        Student's t.  Two seeds know the spread of one pair so badly that nobody would ever drop
        out, so the deviation is what all rows together show, with their degrees of freedom, or
        that of this pair where it is larger.  A few seeds may agree by chance, so the interval is
        never narrower than what the noise gives that was measured on the reference; where there is
        one seed only, that noise is all there is, and it allows for all comparisons.  None: the
        spread is not known.
        """
        n, shared, pair = len(differences), self.rule.comparisons(self.seeds), self.rule.pair
        if n == 1:
            return None if pair is None else max(SIGMAS, normal_quantile(comparisons=shared)) * pair
        freedom = (len(self.gains) - 1) * (n - 1)
        deviation = max(self._deviation, statistics.stdev(differences))
        width = quantile(freedom, comparisons=shared) * deviation
        return max(width, SIGMAS * (pair or 0.0)) / math.sqrt(n)

    @cached_property
    def _deviation(self) -> float:
        """The deviation of a paired difference that all rows together show.

        What the gains leave over when the mean of each design and that of each seed is taken out
        (two-way layout without interaction).
        """
        rows = list(self.gains.values())
        means = [statistics.fmean(row) for row in rows]
        columns = [statistics.fmean(column) for column in zip(*rows, strict=True)]
        grand = statistics.fmean(means)
        squares = math.fsum(
            (gain - mean - column + grand) ** 2
            for row, mean in zip(rows, means, strict=True)
            for gain, column in zip(row, columns, strict=True)
        )
        return math.sqrt(2 * squares / ((len(rows) - 1) * (len(columns) - 1)))


@dataclass(frozen=True)
class Standing:
    """How a design stands in a race: its gain over the reference at its last look.

    `gains` are by fresh seed; `out_after` says after how many it dropped out, None where it did
    not, and `failed` whether that was for a training that failed.
    """

    design: int
    gains: tuple[float, ...]
    over_reference: Difference
    out_after: int | None = None
    failed: bool = False


@dataclass(frozen=True)
class Race:
    """A race as far as it has come: the looks so far, and the trainings that the next one needs.

    `wanted` is empty once the race is over.
    """

    entries: Entries
    looks: tuple[Look, ...] = ()
    wanted: tuple[tuple[int, int], ...] = ()

    def difference(self, one: int, other: int) -> Difference | None:
        """Return how much more `one` gained, at the last look that both took part in."""
        shared = (look for look in reversed(self.looks) if {one, other} <= look.gains.keys())
        look = next(shared, None)
        return None if look is None else look.difference(one, other)

    def standings(self, designs: Sequence[int]) -> list[Standing]:
        """Return how `designs` stand, best first: who is still in, then who was in for longest,
        then the highest gain.  One that failed before its first look is left out."""
        found = [standing for design in designs if (standing := self._standing(design))]
        longest = {each.design: each.out_after or math.inf for each in found}
        return sorted(found, key=lambda s: (-longest[s.design], -s.over_reference.mean, s.design))

    def _standing(self, design: int) -> Standing | None:
        seen = [look for look in self.looks if design in look.gains]
        if not seen:
            return None
        out = next((look for look in self.looks if design not in look.remaining), None)
        return Standing(
            design,
            seen[-1].gains[design],
            seen[-1].difference(design, self.entries.reference),
            None if out is None else out.seeds,
            out is not None and design in out.failed,
        )


def hold(finals: Finals, seeds: int, pair: float | None) -> Race:
    """Return the race that the trainings of `finals` make, with `seeds` fresh seeds at most.

    It depends on nothing but its arguments: the policy, a resumed run and the verdict of a store
    all see the same race.
    """
    entries, looks = finals.entries, list[Look]()
    rule = Rule(entries, look_seeds(seeds), pair)
    remaining = entries.designs
    for at in rule.looks:
        trained = rule.trained(remaining)
        wanted = tuple((design, FRESH + seed) for seed in range(at) for design in trained)
        if not finals.done.issuperset(wanted):
            return Race(entries, tuple(looks), wanted)
        looks.append(_look(finals, rule, at, trained, remaining))
        remaining = looks[-1].remaining
        if looks[-1].is_last:
            break
    return Race(entries, tuple(looks))


def _look(
    finals: Finals, rule: Rule, seeds: int, trained: Sequence[int], remaining: Sequence[int]
) -> Look:
    """Return the look after `seeds` fresh seeds; one that the reference failed does not count."""
    of_reference = finals.gains.get(finals.entries.reference, {})
    counted = [FRESH + seed for seed in range(seeds) if FRESH + seed in of_reference]
    if not counted:
        return Look(seeds, rule, {}, remaining=tuple(remaining))
    gains = {design: finals.gains.get(design, {}) for design in trained}
    whole = {d: row for d, row in gains.items() if row.keys() >= set(counted)}
    rows = {design: tuple(row[each] for each in counted) for design, row in whole.items()}
    failed = tuple(design for design in remaining if design not in rows)
    running = [design for design in remaining if design in rows]
    look = Look(seeds, rule, rows, failed)
    if not running:
        return look
    best_first = sorted(running, key=lambda design: (-look.mean(design), design))
    leader, entries = best_first[0], rule.entries
    best_seed = next((design for design in best_first if design in entries.seeds), None)
    safe = {leader, best_seed} if leader in entries.children else {leader}
    others = {d: look.difference(d, leader) for d in running if d not in safe}
    behind = {design: found for design, found in others.items() if found.is_worse}
    still = tuple(design for design in running if design not in behind)
    return replace(look, leader=leader, remaining=still, behind=behind)
