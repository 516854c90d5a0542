"""The tables of `rung_fidelity.py`: Markdown from what was recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fidelity_records import Recipe, Record
from fidelity_statistics import (
    advantage,
    agreement,
    fitted_margin,
    relative_sigma,
    split_errors,
    stopping,
    stretch,
)

FEWEST_DESIGNS = 10  # of a row: below that an interval holds nearly everything
FEWEST_CLIMBERS = 4  # below that a half of the designs has no two of them


@dataclass(frozen=True)
class Reading:
    """What is taken for the result of a training, and the CPU seconds until it is known."""

    name: str
    score: Callable[[Record], float]
    cpu_s: Callable[[Record], float]


def heldout(record: Record) -> float:
    """Return the held-out bits per byte; infinite where the training failed."""
    return math.inf if record.bits_per_byte is None else record.bits_per_byte


def training_s(record: Record) -> float:
    """Return the CPU seconds of the training alone, by its share of the wall time."""
    return record.cpu_s * record.train_s / record.wall_s if record.wall_s else 0.0


def from_curve(name: str, begin: float, end: float) -> Reading:
    """Return the mean training loss between two shares of the tokens, known at the second."""

    def loss(record: Record) -> float:
        return stretch(record.curve, begin, end) if record.status == "ok" else math.inf

    return Reading(name, loss, lambda record: training_s(record) * end)


READINGS = (
    Reading("held-out", heldout, lambda record: record.cpu_s),
    from_curve("final loss", 0.95, 1.0),
    from_curve("loss, last quarter", 0.75, 1.0),
    from_curve("stopped at 1/2", 0.375, 0.5),
    from_curve("stopped at 1/4", 0.1875, 0.25),
)
Scores = dict[str, dict[int, Record]]  # design -> seed -> record


def of_recipe(records: Sequence[Record], recipe: Recipe) -> Scores:
    """Return what was recorded of one recipe."""
    found: Scores = {}
    for record in records:
        if record.recipe == recipe:
            found.setdefault(record.design, {})[record.seed] = record
    return found


def scored(found: Scores, reading: Reading, seeds: int = 1) -> dict[str, float]:
    """Return the mean over the first seeds of every design that has them all."""
    return {
        name: fmean(reading.score(of[seed]) for seed in range(seeds))
        for name, of in found.items()
        if all(seed in of for seed in range(seeds))
    }


def frontier(
    records: Sequence[Record], recipes: Mapping[str, Recipe], long: str, today: str
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of seconds against correlation, with its head."""
    yield ("recipe", "result", "seeds", "designs", "CPU s", "sigma %", "Spearman (95 %)",
           "above today's (95 %)", "Kendall", "better half")  # fmt: skip
    target = scored(of_recipe(records, recipes[long]), READINGS[0])
    base = scored(of_recipe(records, recipes[today]), READINGS[0])
    for name, recipe in recipes.items():
        found = of_recipe(records, recipe)
        for reading in READINGS:
            for seeds in (1, 2, 3):
                scores = scored(found, reading, seeds)
                same = name == long and reading is READINGS[0]
                if (
                    (seeds > 1 and reading is not READINGS[0])
                    or len(scores) < FEWEST_DESIGNS
                    or same
                ):
                    continue
                agreed = agreement(scores, target)
                more, low, high = advantage(scores, base, target)
                over = f"{more:+.2f} ({low:+.2f} to {high:+.2f})" if name != today else ""
                spent = fmean(
                    sum(reading.cpu_s(found[design][seed]) for seed in range(seeds))
                    for design in scores
                )
                every = [[reading.score(r) for r in of.values()] for of in found.values()]
                yield (
                    name,
                    reading.name,
                    str(seeds),
                    str(agreed.n),
                    f"{spent:.1f}",
                    f"{relative_sigma(every) / seeds**0.5:.2f}",
                    f"{agreed.spearman:.2f} ({agreed.low:.2f} to {agreed.high:.2f})",
                    over,
                    f"{agreed.kendall:.2f}",
                    f"{agreed.upper_half:.2f}",
                )


def stops(records: Sequence[Record], recipes: Mapping[str, Recipe]) -> Iterator[tuple[str, ...]]:
    """Yield what an early stop would do within each rung, with its head; a third climbs.

    The margin is fitted on all designs so that no one that climbs is ended; its error is that of
    margins fitted on one half of the designs and tried on the other.
    """
    yield ("recipe", "stop at", "climb", "margin, nats", "wrongly ended", "ended",
           "training saved")  # fmt: skip
    for name, recipe in recipes.items():
        found = of_recipe(records, recipe)
        final = scored(found, READINGS[0])
        climbing = len(final) // 3
        if climbing < FEWEST_CLIMBERS:
            continue
        for share in (0.25, 0.5):
            early = scored(found, from_curve("", 0.75 * share, share))
            margin = fitted_margin(early, final, climbing)
            told = stopping(early, final, share, climbing, margin)
            wrong = split_errors(early, final, climbing / len(final))
            yield (
                name,
                f"{share:g}",
                f"{climbing} of {len(final)}",
                f"{margin:.3f}",
                f"{100 * wrong:.0f} %",
                f"{100 * told.ended:.0f} %",
                f"{100 * told.saved:.0f} %",
            )


def rates(
    records: Sequence[Record], recipes: Mapping[str, Recipe], rung: str, long: str
) -> Iterator[tuple[str, ...]]:
    """Yield the bits per byte of each design at three rates, its rank at the rung's rate, at its
    own best one, and in the long result, with the head."""
    by_rate = {
        recipe.lr_scale: scored(of_recipe(records, recipe), READINGS[0])
        for recipe in recipes.values()
        if recipe.model_copy(update={"lr_scale": 1.0}) == recipes[rung]
    }
    names = set.intersection(*map(set, by_rate.values()))
    target = scored(of_recipe(records, recipes[long]), READINGS[0])
    names &= set(target)
    yield ("design", *(f"x {rate:g}" for rate in sorted(by_rate)), "best", "rank at x 1",
           "rank at its best", "rank in the long result")  # fmt: skip
    best = {name: min(scores[name] for scores in by_rate.values()) for name in names}
    at_one = {name: by_rate[1.0][name] for name in names}
    long_of = {name: target[name] for name in names}
    for name in sorted(names, key=lambda name: best[name]):
        values = [by_rate[rate][name] for rate in sorted(by_rate)]
        own = sorted(by_rate)[values.index(min(values))]
        yield (
            name,
            *(f"{value:.3f}" for value in values),
            f"x {own:g}",
            *(str(_rank(scores, name)) for scores in (at_one, best, long_of)),
        )
    if len(names) >= 4:
        both = [agreement(scores, long_of).spearman for scores in (at_one, best)]
        yield ("Spearman with the long result", *[""] * (len(by_rate) + 1),
               *(f"{rho:.2f}" for rho in both), "")  # fmt: skip


def _rank(scores: Mapping[str, float], name: str) -> int:
    return 1 + sum(other < scores[name] for other in scores.values())


def markdown(rows: Iterator[tuple[str, ...]]) -> str:
    """Return rows, the first of which is the head, as a table."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rest))
