"""The designs in the order in which they were made and measured, for drawing over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from genesys_engine.engine.events import VERIFICATION_FINISHED
from genesys_engine.engine.store import Store
from genesys_engine.engine.views.leaderboard import LeaderboardRow
from genesys_engine.engine.views.run import RunView


@dataclass(frozen=True)
class Point:
    """A verified design and the minute of work in which its last verification came in."""

    design: int
    minute: float
    fitness: float
    rungs: int


def history(store: Store, rows: Iterable[LeaderboardRow]) -> list[Point]:
    """Return the verified designs of `rows` in order of their number."""
    run, minutes = RunView(), {}
    for event in store.events():
        run.apply(event)
        if event.kind == VERIFICATION_FINISHED and event.payload["replicate"] == 0:
            minutes[event.payload["design"]] = run.active_s / 60
    points = (Point(row.design, minutes[row.design], row.fitness, row.rungs) for row in rows)
    return sorted(points, key=lambda point: point.design)


def best_so_far(points: Iterable[Point]) -> list[Point]:
    """Return the points that led when they came, in the order given: higher rung, then gain."""
    leaders: list[Point] = []
    for point in points:
        if not leaders or _rank(point) > _rank(leaders[-1]):
            leaders.append(point)
    return leaders


def _rank(point: Point) -> tuple[int, float]:
    return point.rungs, point.fitness
