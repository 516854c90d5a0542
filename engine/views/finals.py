"""The race of the finals as data and in words: who entered, who is still in, who dropped out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.common.text import percent, plural
from genesys_engine.engine.score.noise import REFERENCE, noise_floor
from genesys_engine.engine.score.race import FAILED, Race
from genesys_engine.engine.score.verdict import fresh_json, race_of
from genesys_engine.engine.store.names import design_names, label, scale_names
from genesys_engine.engine.store.run_store import Store


@dataclass(frozen=True)
class FinalsView:
    """The finals of a run as far as they have come.

    `rows` are the entrants as JSON data, best first (`fresh_json` with `name`, `seed` and `place`
    in words; a design that failed before its first look has no numbers); `looks` are the payloads
    of the events `finals.look`, and `sentences` say each of them.
    """

    scale: str
    reference: str
    seeds: int
    over: bool
    rows: tuple[Mapping[str, Any], ...]
    looks: tuple[Mapping[str, Any], ...]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as `status --json` gives it out."""
        return {
            "scale": self.scale,
            "seeds": self.seeds,
            "over": self.over,
            "entrants": [dict(row) for row in self.rows],
            "looks": [dict(look) for look in self.looks],
        }


def finals_view(store: Store) -> FinalsView | None:
    """Return the finals of a run; None before they open."""
    race, names = race_of(store, noise_floor(store)), design_names(store.designs())
    if not race.entries:
        return None
    looks = tuple(look.to_json() for look in race.looks)
    return FinalsView(
        scale=scale_names(store)[-1],
        reference=label(race.entries.reference, names),
        seeds=store.meta("experiment")["ladder"]["finalist_seeds"],
        over=not race.wanted,
        rows=tuple(_rows(race, names)),
        looks=looks,
        sentences=tuple(look_words(look, lambda design: label(design, names)) for look in looks),
    )


def look_words(look: Mapping[str, Any], called: Callable[[int | None], str]) -> str:
    """Return what a look has found; `look` is the payload of an event `finals.look`."""
    seeds = plural(look["seeds"], "fresh seed")
    if look["leader"] is None:
        return f"after {seeds} nobody can be compared"
    leader = called(look["leader"])
    others = [called(design) for design in look["remaining"] if design != look["leader"]]
    still = f"still in: {', '.join(others)}" if others else "nobody else is left"
    parts = [f"after {seeds} {leader} leads", still]
    if look["dropped"]:
        out = ", ".join(_dropped(each, leader, called) for each in look["dropped"])
        parts.append(f"out: {out}")
    return "; ".join(parts)


def _dropped(out: Mapping[str, Any], leader: str, called: Callable[[int | None], str]) -> str:
    name = called(out["design"])
    if out["reason"] == FAILED:
        return f"{name} (a training failed)"
    interval = f"{percent(out['low'])} to {percent(out['high'])}"
    return f"{name} ({percent(out['mean'])} against {leader}, {interval})"


_NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("mean", "low", "high", "standing", "out_after")),
    "gains": [],
}


def _rows(race: Race, names: Mapping[int, str]) -> list[dict[str, Any]]:
    entries = race.entries
    standings = {each.design: each for each in race.standings(entries.designs)}
    missing = [design for design in entries.designs if design not in standings]
    failed = {design for look in race.looks for design in look.failed}
    rows = []
    for design in (*standings, *missing):
        about = {"design": design, "name": label(design, names), "seed": design in entries.seeds}
        if design not in standings:
            place = "a training failed" if design in failed else "in training"
            rows.append({**about, **_NOTHING, "failed": design in failed, "place": place})
            continue
        found = fresh_json(standings[design])
        if design == entries.reference:
            found["standing"] = REFERENCE
        rows.append({**about, **found, "place": _place(found)})
    return rows


def _place(found: Mapping[str, Any]) -> str:
    """Return whether a design is still in the race, or since when it is not."""
    if found["out_after"] is None:
        return "in"
    why = "a training failed" if found["failed"] else "worse"
    return f"out after {plural(found['out_after'], 'seed')}: {why}"
