"""The leaderboard: verified designs, highest rung first, then best fitness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.store import DesignRow, Store, VerificationRow
from genesys_engine.engine.views import noise
from genesys_engine.engine.views.llm import usage_by_task, usage_json
from genesys_engine.engine.views.names import design_names
from genesys_engine.plugins.api import LLMUsage

_FEW = 200
"""Up to so many rows, their verifications are asked for one by one instead of all read."""


@dataclass(frozen=True)
class LeaderboardRow:
    """One verified design, with its scores and controls at the highest rung verified.

    `fitness` is the mean gain over the reference in percent, `sigma` the noise of such a
    mean (None: not measured at every rung); `standing` is one of the words of `noise`.  `fresh`
    is the result of a finalist with fresh seeds (`mean`, `low`, `high`, `gains`): its standing
    then rests on it.
    """

    design: int
    name: str | None
    fitness: float
    rung: str
    scores: Mapping[str, Any]
    controls: Mapping[str, Any]
    parents: tuple[int, ...]
    operator: str
    change: str
    rungs: int
    parameters: int | None
    sigma: float | None
    standing: str
    fresh: Mapping[str, Any] | None = None
    llm: LLMUsage | None = None  # what its making asked of language models, None without one

    @property
    def within_noise(self) -> bool | None:
        """Whether the gain cannot be told from none; None when the noise was not measured."""
        if self.standing == noise.NOISE_UNKNOWN:
            return None
        return self.standing == noise.WITHIN_NOISE

    def to_json(self) -> dict[str, Any]:
        """Return the row as the command line gives it out."""
        return {
            "design": self.design,
            "fitness": self.fitness,
            "rung": self.rung,
            "scores": self.scores,
            "controls": self.controls,
            "parents": list(self.parents),
            "change": self.change,
            "name": self.name,
            "operator": self.operator,
            "rungs_verified": self.rungs,
            "parameters": self.parameters,
            "sigma": self.sigma,
            "standing": self.standing,
            "within_noise": self.within_noise,
            "fresh": None if self.fresh is None else dict(self.fresh),
            "llm": None if self.llm is None else usage_json(self.llm),
        }


def leaderboard(store: Store, limit: int | None = None) -> list[LeaderboardRow]:
    """Return the best `limit` verified designs (all by default), best first."""
    designs = store.leaderboard(limit)
    names = design_names(designs)
    scales = scale_names(store)
    floor = noise.noise_floor(store)
    top = _at_highest_rung(store, designs)
    finalists = {f["design"]: f for f in (store.meta("verdict") or {}).get("finalists", ())}
    spent = usage_by_task(store)
    rows = []
    for design in designs:
        assert design.rung is not None
        assert design.fitness is not None
        shown = top[design.id]
        sigma = noise.fitness_sigma(floor.sigmas, design.rung)
        fresh = finalists.get(design.id)
        if design.id == floor.reference:
            standing = noise.REFERENCE
        elif fresh is not None:
            standing = fresh["standing"]
        else:
            standing = noise.standing(design.fitness, sigma)
        row = LeaderboardRow(
            design=design.id,
            name=names.get(design.id),
            fitness=design.fitness,
            rung=scales[design.rung],
            scores=shown.scores,
            controls=shown.controls,
            parents=design.parents,
            operator=design.operator,
            change=design.change,
            rungs=design.rung + 1,
            parameters=None if design.parameters is None else int(design.parameters),
            sigma=sigma,
            standing=standing,
            fresh=fresh,
            llm=spent.get(design.seq),
        )
        rows.append(row)
    return rows


def best_child(rows: Iterable[LeaderboardRow]) -> LeaderboardRow | None:
    """Return the first row that evolution made, None while there are seeds only."""
    return next((row for row in rows if row.name is None), None)


def scale_names(store: Store) -> tuple[str, ...]:
    """Return the names of the ladder's scales, lowest first."""
    rungs = store.meta("experiment")["ladder"]["rungs"]
    return tuple(rung["scale"] for rung in rungs)


def metric_names(rows: Iterable[LeaderboardRow]) -> list[str]:
    """Return the metrics of the rows in the order of first appearance; of a group its mean only."""
    return list(dict.fromkeys(name for row in rows for name in row.scores if "/" not in name))


def _at_highest_rung(store: Store, designs: list[DesignRow]) -> dict[int, VerificationRow]:
    """Return per design the first good verification at its highest rung."""
    rungs = {design.id: design.rung for design in designs}
    found: dict[int, VerificationRow] = {}
    for row in _verifications_of(store, rungs):
        if row.status == "ok" and row.rung == rungs.get(row.design):
            found.setdefault(row.design, row)
    return found


def _verifications_of(store: Store, designs: Iterable[int]) -> Iterator[VerificationRow]:
    wanted = list(designs)
    if len(wanted) > _FEW:
        yield from store.verifications()
        return
    for design in wanted:
        yield from store.verifications(design)
