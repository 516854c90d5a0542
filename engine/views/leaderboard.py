"""The leaderboard: verified designs, highest rung first, then best fitness."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from genesys_engine.engine.common.records import plain, to_json
from genesys_engine.engine.jobs.scores import Controls, Scores
from genesys_engine.engine.score import noise, noise_floor, standing
from genesys_engine.engine.score.verdict import fresh_result, race_of
from genesys_engine.engine.store.event_types import FreshResult
from genesys_engine.engine.store.names import design_names, scale_names
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.engine.views.costs import Cost, Costs
from genesys_engine.engine.views.llm import usage_by_task, usage_of
from genesys_engine.plugins.api import LLMUsage

_FEW = 200
"""Up to so many rows, their verifications are asked for one by one instead of all read."""


@dataclass(frozen=True)
class LeaderboardRow:
    """One verified design, with its scores, controls and cost at the highest rung verified.

    `gain` is the gain over the reference in percent at that rung, what the scores next to it give;
    `fitness` is the mean of `gains` over all rungs, which ranks, `sigma` the noise of such a mean
    (None: not measured at every rung) and `standing` the word for it.  `fresh` is the
    result with the fresh seeds of the finals (see `fresh_result`): its standing then rests
    on it.  The scores of the reference are the means over its `trainings`, since the gains of
    others are measured against those.  `costs` are by rung, the lowest first.
    """

    design: int
    name: str | None
    fitness: float
    rung: str
    gain: float
    gains: Mapping[str, float]
    scores: Scores
    controls: Controls
    parents: tuple[int, ...]
    operator: str
    change: str
    rungs: int
    costs: tuple[Cost, ...]
    sigma: float | None
    standing: str
    trainings: int = 1
    fresh: FreshResult | None = None
    llm: LLMUsage | None = None  # what its making asked of language models, None without one

    @property
    def label(self) -> str:
        """What the design is called."""
        return self.name or f"#{self.design}"

    @property
    def cost(self) -> Cost:
        """What it takes at the highest rung verified."""
        return self.costs[-1]

    @property
    def within_noise(self) -> bool | None:
        """Whether the gain is indistinguishable from none; None when the noise was not measured."""
        if self.standing == standing.NOT_MEASURED:
            return None
        return self.standing == standing.NO_DIFFERENCE

    def to_json(self) -> dict[str, object]:
        """Return the row as the command line gives it out."""
        return {
            "design": self.design,
            "fitness": self.fitness,
            "rung": self.rung,
            "gain": self.gain,
            "gains": dict(self.gains),
            "scores": plain(self.scores),
            "controls": plain(self.controls),
            "parents": list(self.parents),
            "change": self.change,
            "name": self.name,
            "operator": self.operator,
            "rungs_verified": self.rungs,
            "trainings": self.trainings,
            **self.cost.to_json(),
            "sigma": self.sigma,
            "standing": self.standing,
            "within_noise": self.within_noise,
            "fresh": None if self.fresh is None else to_json(self.fresh),
            "llm": None if self.llm is None else to_json(usage_of(self.llm)),
        }


def leaderboard(store: Store, limit: int | None = None) -> list[LeaderboardRow]:
    """Return the best `limit` verified designs (all by default), best first."""
    return leaderboard_rows(store, store.leaderboard(limit))


def leaderboard_row(store: Store, design: int) -> LeaderboardRow:
    """Return the row of one verified design."""
    (row,) = leaderboard_rows(store, [store.design(design)])
    return row


def leaderboard_rows(store: Store, designs: Sequence[DesignRow]) -> list[LeaderboardRow]:
    """Return the rows of these verified designs, in their order."""
    scales, floor = scale_names(store), noise_floor.noise_floor(store)
    race = race_of(store, floor)
    raced = race.standings([d for d in race.entries.designs if d != floor.reference])
    fresh = {standing.design: fresh_result(standing) for standing in raced}
    names, spent = design_names(designs), usage_by_task(store)
    trained = _trainings(store, designs, floor.reference)
    costs = Costs(store, floor.reference)
    rows = []
    for design in designs:
        assert design.rung is not None
        assert design.fitness is not None
        mine = trained[design.id]
        top = mine[design.rung]
        sigma = noise.fitness_sigma(floor.sigmas, design.rung)
        row = LeaderboardRow(
            design=design.id,
            name=names.get(design.id),
            fitness=design.fitness,
            rung=scales[design.rung],
            gain=0.0 if design.id == floor.reference else _gain(top),
            gains={scales[rung]: _gain(rows) for rung, rows in sorted(mine.items())},
            scores=_mean_scores(top),
            controls=top[0].controls,
            parents=design.parents,
            operator=design.operator,
            change=design.change,
            rungs=design.rung + 1,
            costs=tuple(costs.of(design, scales[rung], mine[rung][0]) for rung in sorted(mine)),
            sigma=sigma,
            standing=_standing(design, floor.reference, fresh.get(design.id), sigma),
            trainings=len(top),
            fresh=fresh.get(design.id),
            llm=spent.get(design.seq),
        )
        rows.append(row)
    return rows


def _standing(
    design: DesignRow, reference: int | None, fresh: FreshResult | None, sigma: float | None
) -> str:
    if design.id == reference:
        return standing.REFERENCE
    if fresh is not None:
        return standing.interval_standing(fresh.low, fresh.high)
    assert design.fitness is not None
    return standing.standing(design.fitness, sigma)


def best_child(rows: Iterable[LeaderboardRow]) -> LeaderboardRow | None:
    """Return the first row that evolution made, None while there are seeds only."""
    return next((row for row in rows if row.name is None), None)


def metric_names(rows: Iterable[LeaderboardRow]) -> list[str]:
    """Return the metrics of the rows in the order of first appearance; of a group its mean only."""
    return list(dict.fromkeys(name for row in rows for name in row.scores if "/" not in name))


def _trainings(
    store: Store, designs: Iterable[DesignRow], reference: int | None
) -> dict[int, dict[int, list[VerificationRow]]]:
    """Return per design and rung the good trainings that count: one, of the reference all."""
    found: dict[int, dict[int, list[VerificationRow]]] = {row.id: {} for row in designs}
    for row in _verifications_of(store, found):
        counts = row.replicate == 0 or (row.design == reference and not is_fresh(row.replicate))
        if counts and row.status == "ok" and row.design in found:
            found[row.design].setdefault(row.rung, []).append(row)
    return found


def _gain(trainings: Sequence[VerificationRow]) -> float:
    gain = trainings[0].fitness
    return 0.0 if gain is None else gain


def _mean_scores(trainings: Sequence[VerificationRow]) -> Scores:
    """Return the scores of one training, or the means over several (of the reference)."""
    first = trainings[0].scores
    if len(trainings) == 1:
        return first
    return {name: replace(score, value=_mean(trainings, name)) for name, score in first.items()}


def _mean(trainings: Iterable[VerificationRow], metric: str) -> float:
    return statistics.fmean(t.scores[metric].value for t in trainings if metric in t.scores)


def _verifications_of(store: Store, designs: Iterable[int]) -> Iterator[VerificationRow]:
    wanted = list(designs)
    if len(wanted) > _FEW:
        yield from store.verifications()
        return
    for design in wanted:
        yield from store.verifications(design)
