"""Designs as points in a plane: any two of their numbers, and who is beaten by nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from genesys_engine.engine.common.text import metric_title
from genesys_engine.engine.jobs.facts import number
from genesys_engine.engine.store.run_store import Store, VerificationRow

FITNESS, PARAMETERS, FLOPS, SECONDS = "fitness", "parameters", "flops", "train_s"


@dataclass(frozen=True)
class Axis:
    """One number of a design: its key, its name, and whether more of it is better."""

    key: str
    title: str
    up: bool


@dataclass(frozen=True)
class MetricTable:
    """The numbers of all verified designs, each score at the highest rung verified.

    `values` has a column for each axis, parallel to `designs` (best first); None where a design
    has no such number.  `rungs` is the index of each design's highest rung.
    """

    axes: tuple[Axis, ...]
    designs: tuple[int, ...]
    rungs: tuple[int, ...]
    values: Mapping[str, Sequence[float | None]]


_OF_DESIGNS = (
    Axis(FITNESS, "mean gain (%)", up=True),
    Axis(PARAMETERS, "parameters at the lowest rung", up=False),
    Axis(FLOPS, "FLOPs per token at the lowest rung", up=False),
    Axis(SECONDS, "seconds of training", up=False),
)


def metric_table(store: Store) -> MetricTable:
    """Return the numbers of all verified designs."""
    rows, top = store.leaderboard(), _top(store.verifications())
    scored = [top.get(row.id) for row in rows]
    axes = (*_OF_DESIGNS, *_score_axes(each for each in scored if each is not None))
    values: dict[str, list[float | None]] = {
        FITNESS: [row.fitness for row in rows],
        PARAMETERS: [row.parameters for row in rows],
        FLOPS: [row.flops for row in rows],
        SECONDS: [None if each is None else number(each.facts, "train_s") for each in scored],
    }
    for axis in axes[len(_OF_DESIGNS) :]:
        values[axis.key] = [_score(each, axis.key) for each in scored]
    rungs = tuple(row.rung or 0 for row in rows)
    return MetricTable(axes, tuple(row.id for row in rows), rungs, values)


def unbeaten(x: Sequence[float], y: Sequence[float], *, x_up: bool, y_up: bool) -> list[int]:
    """Return the positions of the points that no other is at least as good as in both numbers and
    better in one, by the first number."""
    across = [value if x_up else -value for value in x]
    upward = [value if y_up else -value for value in y]
    order = sorted(range(len(x)), key=lambda i: (-across[i], -upward[i]))
    front: list[int] = []
    for i in order:
        if not front or upward[i] > upward[front[-1]]:
            front.append(i)
    return front


def _top(rows: Iterable[VerificationRow]) -> dict[int, VerificationRow]:
    """Return design -> its verification at the highest rung with the first training seed."""
    found: dict[int, VerificationRow] = {}
    for row in rows:
        if row.replicate or row.status != "ok":
            continue
        if (known := found.get(row.design)) is None or row.rung > known.rung:
            found[row.design] = row
    return found


def _score_axes(rows: Iterable[VerificationRow]) -> list[Axis]:
    found = {
        name: score.higher_is_better
        for row in rows
        for name, score in row.scores.items()
        if "/" not in name  # of a group of tasks its mean speaks
    }
    return [Axis(name, metric_title(name), up) for name, up in found.items()]


def _score(row: VerificationRow | None, metric: str) -> float | None:
    score = None if row is None else row.scores.get(metric)
    return None if score is None else score.value
