"""The designs in the order in which they were made and measured, for drawing over time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.store.event_types import VerificationFinished
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.run import RunView


@dataclass(frozen=True)
class Point:
    """Where a design stood after one of its verifications, and the minute of work it came in."""

    design: int
    minute: float
    fitness: float
    rungs: int


class History:
    """A point per verification that moved its design: a fold over the log."""

    def __init__(self) -> None:
        self._gains: dict[int, list[float]] = {}
        self._points: list[Point] = []

    def apply(self, event: Event, run: RunView) -> None:
        """Take one event into account, which `run` has taken in already."""
        found = event.record
        if isinstance(found, VerificationFinished) and found.replicate == 0:
            so_far = self._gains.setdefault(found.design, [])
            so_far.append(found.fitness)
            mean = statistics.fmean(so_far)
            self._points.append(Point(found.design, run.active_s / 60, mean, len(so_far)))

    def points(self, store: Store) -> list[Point]:
        """Return them in order of time, without designs that are disqualified or in question."""
        named = {row.id for row in store.leaderboard()}
        return [point for point in self._points if point.design in named]


def history(store: Store) -> list[Point]:
    """Return a point per verification that moved its design, in order of time."""
    run, found = RunView(), History()
    for event in store.events():
        run.apply(event)
        found.apply(event, run)
    return found.points(store)


def latest(points: Iterable[Point]) -> list[Point]:
    """Return the last point of each design, in order of design number."""
    by_design = {point.design: point for point in points}
    return [by_design[design] for design in sorted(by_design)]


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points in order: those that led, the best, an even share of others."""
    if len(points) <= most:
        return list(points)
    by_gain = sorted(points, key=lambda point: (-point.rungs, -point.fitness, point.design))
    kept = {id(point) for point in (*best_so_far(points)[-most // 4 :], *by_gain[: most // 4])}
    others = [point for point in points if id(point) not in kept]
    step = -(-len(others) // (most - len(kept)))
    kept |= {id(point) for point in others[::step]}
    return [point for point in points if id(point) in kept]


def best_so_far(points: Iterable[Point]) -> list[Point]:
    """Return the points that led when they came, in the order given: higher rung, then gain."""
    leaders: list[Point] = []
    for point in points:
        if not leaders or _rank(point) > _rank(leaders[-1]):
            leaders.append(point)
    return leaders


def _rank(point: Point) -> tuple[int, float]:
    return point.rungs, point.fitness
