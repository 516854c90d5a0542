"""The race of the finals as data and in words: who entered, who is still in, who dropped out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.text import percent, plural
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.race import Race
from genesys_engine.engine.score.standing import REFERENCE
from genesys_engine.engine.score.verdict import fresh_result, race_of
from genesys_engine.engine.store.event_types import Dropped, FinalsLook, FreshResult
from genesys_engine.engine.store.names import design_names, label, scale_names
from genesys_engine.engine.store.run_store import Store


@dataclass(frozen=True)
class Entrant:
    """A design in the finals, with its place in words; without numbers before its first look."""

    design: int
    name: str
    seed: bool
    place: str
    failed: bool
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    standing: str | None = None
    out_after: int | None = None
    gains: tuple[float, ...] = ()


@dataclass(frozen=True)
class FinalsView:
    """The finals of a run as far as they have come.

    `rows` are the entrants, best first; `looks` are the events `finals.look`, and `sentences` say
    each of them.
    """

    scale: str
    reference: str
    seeds: int
    over: bool
    rows: tuple[Entrant, ...]
    looks: tuple[FinalsLook, ...]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as `status --json` gives it out."""
        return {
            "scale": self.scale,
            "seeds": self.seeds,
            "over": self.over,
            "entrants": [to_json(row) for row in self.rows],
            "looks": [look.to_json() for look in self.looks],
            "sentences": list(self.sentences),
        }


def finals_view(store: Store) -> FinalsView | None:
    """Return the finals of a run; None before they open."""
    race, names = race_of(store, noise_floor(store)), design_names(store.designs())
    if not race.entries:
        return None
    looks = tuple(look.record() for look in race.looks)
    return FinalsView(
        scale=scale_names(store)[-1],
        reference=label(race.entries.reference, names),
        seeds=store.meta("experiment")["ladder"]["finalist_seeds"],
        over=not race.wanted,
        rows=tuple(_rows(race, names)),
        looks=looks,
        sentences=tuple(look_words(look, lambda design: label(design, names)) for look in looks),
    )


def look_words(look: FinalsLook, called: Callable[[int | None], str]) -> str:
    """Return what a look has found."""
    seeds = plural(look.seeds, "fresh seed")
    if look.leader is None:
        return f"after {seeds} nobody can be compared"
    leader = called(look.leader)
    others = [called(design) for design in look.remaining if design != look.leader]
    still = f"still in: {', '.join(others)}" if others else "nobody else is left"
    parts = [f"after {seeds} {leader} leads", still]
    if look.dropped:
        out = ", ".join(_dropped(each, leader, called) for each in look.dropped)
        parts.append(f"out: {out}")
    return "; ".join(parts)


def _dropped(out: Dropped, leader: str, called: Callable[[int | None], str]) -> str:
    name = called(out.design)
    if out.mean is None or out.low is None or out.high is None:
        return f"{name} (a training failed)"
    interval = f"{percent(out.low)} to {percent(out.high)}"
    return f"{name} ({percent(out.mean)} against {leader}, {interval})"


def _rows(race: Race, names: Mapping[int, str]) -> Iterator[Entrant]:
    """Yield the entrants: those with a look behind them, best first, then the others."""
    entries = race.entries
    standings = {each.design: each for each in race.standings(entries.designs)}
    failed = {design for look in race.looks for design in look.failed}
    for design, standing in standings.items():
        found = fresh_result(standing)
        yield Entrant(
            design=design,
            name=label(design, names),
            seed=design in entries.seeds,
            place=_place(found),
            failed=found.failed,
            mean=found.mean,
            low=found.low,
            high=found.high,
            standing=REFERENCE if design == entries.reference else found.standing,
            out_after=found.out_after,
            gains=found.gains,
        )
    for design in (each for each in entries.designs if each not in standings):
        place = "a training failed" if design in failed else "in training"
        yield Entrant(
            design, label(design, names), design in entries.seeds, place, design in failed
        )


def _place(found: FreshResult) -> str:
    """Return whether a design is still in the race, or since when it is not."""
    if found.out_after is None:
        return "in"
    why = "a training failed" if found.failed else "worse"
    return f"out after {plural(found.out_after, 'seed')}: {why}"
