"""What each part of a design gives: differences of paired trainings, and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genesys_engine.engine.score.finals import Entries
from genesys_engine.engine.score.fitness import Reading, fitness_gain
from genesys_engine.engine.score.race import Difference, Look, Rule
from genesys_engine.engine.score.standing import BETTER, NOT_MEASURED, WORSE, interval_standing
from genesys_engine.gab.errors import InputError


@dataclass(frozen=True)
class Trained:
    """What a variant of a design scored, a reading for each training seed.

    `path` and `change` say which part it is without, or `change` alone what it is; `problem` says
    why there are no readings, or "".  `same_as` is the row whose model it is, trained once.
    """

    path: str
    change: str
    readings: tuple[Reading, ...] = ()
    parameters: int | None = None
    device_s: float | None = None
    problem: str = ""
    same_as: int | None = None


@dataclass(frozen=True)
class Share:
    """What the whole design (`path` is empty) or one part of it gives.

    `gain` is what the design gained over the variant, in percent of the base's score, and `gains`
    the same for each seed.
    """

    path: str
    change: str
    parameters: int | None
    device_s: float | None
    problem: str = ""
    gain: Difference | None = None
    gains: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether it helps, outside chance."""
        word = interval_standing(self.gain.low, self.gain.high) if self.gain else NOT_MEASURED
        return {BETTER: "helps", WORSE: "harms"}.get(word, word)


@dataclass(frozen=True)
class Explanation:
    """The parts of a design and what each of them gives, the most useful first.

    `whole` is the design against the `base`, a name; `values` are the design's own scores (the
    first metric of the fitness) by seed.
    """

    design: int
    base: str
    scale: str
    seeds: int
    parameters: int | None
    device_s: float | None
    values: tuple[float, ...]
    whole: Share
    parts: tuple[Share, ...]


@dataclass(frozen=True)
class _FromOne(Rule):
    """All are compared with one design, and not with each other."""

    def comparisons(self, seeds: int) -> float:
        return max(1, len(self.entries.designs) - 1)


def explained(
    rows: Sequence[Trained], *, design: int, base: str, scale: str, pair: float | None
) -> Explanation:
    """Return what each part gives, from the design, the base, and the design without each part.

    The intervals hold together with 95 % (Bonferroni); the deviation of a paired difference is
    that which all rows show together, or that of the pair where it is larger, as in the finals.

    Args:
        pair: noise of the difference of two trainings, in percent; None where it is not known.

    Raises:
        InputError: the design or the base could not be trained.
    """
    for row in rows[:2]:
        if row.problem:
            raise InputError(f"{row.change} cannot be compared: {row.problem}", where=scale)
    references = rows[1].readings
    gains = {
        at: tuple(
            fitness_gain(reading, [reference])
            for reading, reference in zip(row.readings, references, strict=True)
        )
        for at, row in enumerate(rows)
        if row.readings and row.same_as is None
    }
    seeds = len(references)
    rule = _FromOne(Entries((1,), (0, *(at for at in gains if at > 1))), (seeds,), pair)
    look = Look(seeds, rule, gains)
    numbered = [(at if row.same_as is None else row.same_as, row) for at, row in enumerate(rows)]
    shares = [_compared(row, at, look) for at, row in numbered][1:]
    whole, *others = shares
    others.sort(key=lambda share: -share.gain.mean if share.gain else float("inf"))
    own = rows[0]
    values = tuple(reading.points[0].value for reading in own.readings)
    about = (design, base, scale, seeds, own.parameters, own.device_s)
    return Explanation(*about, values, whole, tuple(others))


def _compared(row: Trained, at: int, look: Look) -> Share:
    about = (row.path, row.change, row.parameters, row.device_s, row.problem)
    if at not in look.gains or at == 0:
        return Share(*about)
    gain = look.difference(0, at)
    pairs = zip(look.gains[0], look.gains[at], strict=True)
    return Share(*about, gain, tuple(one - other for one, other in pairs))
