"""The columns of the tables of results: designs, operators, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genesys_engine.engine.cli.tables import HIDDEN, Column
from genesys_engine.engine.common.text import count, duration, metric_title, number, percent, signed
from genesys_engine.engine.jobs.scores import value_of
from genesys_engine.engine.score.fitness import Measure
from genesys_engine.engine.store.names import label
from genesys_engine.engine.views.leaderboard import LeaderboardRow, metric_names
from genesys_engine.engine.views.llm import usd
from genesys_engine.engine.views.operators import OperatorRow
from genesys_engine.engine.views.runs import RunRow

CONTROLS = ("untrained", "bigram")


def design_columns(
    rows: Sequence[LeaderboardRow],
    places: Mapping[int, int],
    names: Mapping[int, str],
    measure: Measure,
    reference: str,
) -> list[Column[LeaderboardRow]]:
    """Return the columns of designs; `places` and the `names` of seeds are by design number.

    Some have nothing to say of one table: then all their values are None.
    """
    metrics = metric_names(rows)
    several = any(row.rungs > 1 for row in rows)
    fitness = Column[LeaderboardRow](
        "fitness", "mean gain\xa0%", lambda row: row.fitness, lambda row: signed(row.fitness),
        rank=2 if several else HIDDEN,
    )  # fmt: skip
    return [
        Column("place", "place", lambda row: places[row.design]),
        Column("design", "design", lambda row: row.design, _label, rank=0, left=True),
        Column("name", "name", lambda row: row.name, left=True),
        Column("rung", "rung", lambda row: row.rung),
        Column("gain", "gain\xa0%", lambda row: row.gain, lambda row: signed(row.gain), rank=1),
        fitness,
        Column("verdict", "verdict", lambda row: row.standing, rank=3, left=True),
        Column("fresh", "fresh seeds", _fresh_mean, _fresh, rank=4, left=True),
        *(_metric(name, 5 if name in measure.metrics else 20) for name in metrics),
        Column("flops", "FLOPs per token", lambda row: row.cost.flops, _flops, rank=6),
        Column("compute", f"FLOPs over {reference}", lambda row: row.cost.compute, _compute),
        Column("parameters", "params", lambda row: row.cost.parameters, _parameters, rank=7),
        Column("train_s", "train\xa0s", lambda row: row.cost.train_s, _seconds, rank=8),
        Column("tokens", "tokens", lambda row: row.cost.tokens, lambda row: count(row.cost.tokens)),
        *(_control(control, name) for name in metrics for control in CONTROLS),
        Column("llm_tokens", "LLM tokens", _llm_tokens, rank=30),
        Column("llm_usd", "LLM cost", _llm_usd, _llm_cost, rank=31),
        Column("operator", "operator", lambda row: row.operator, left=True),
        Column(
            "parents", "parents", lambda row: " + ".join(label(p, names) for p in row.parents),
            rank=10, left=True,
        ),
        Column("change", "change", lambda row: row.change, rank=15, stretched=True),
    ]  # fmt: skip


def _label(row: LeaderboardRow) -> str:
    return row.label


def _metric(name: str, rank: int) -> Column[LeaderboardRow]:
    def value(row: LeaderboardRow) -> float | None:
        return row.scores[name].value if name in row.scores else None

    return Column(name, metric_title(name), value, lambda row: number(value(row)), rank=rank)


def _control(control: str, metric: str) -> Column[LeaderboardRow]:
    def value(row: LeaderboardRow) -> float | None:
        return value_of(row.controls, control, metric)

    title = f"{control} {metric_title(metric)}"
    return Column(f"{control}.{metric}", title, value, lambda row: number(value(row)))


def _flops(row: LeaderboardRow) -> str:
    if row.cost.flops is None:
        return "–"
    share = "" if row.cost.compute is None else f" {signed(row.cost.compute, 0):>4} %"
    return count(row.cost.flops) + share


def _compute(row: LeaderboardRow) -> str:
    return "–" if row.cost.compute is None else f"{signed(row.cost.compute, 0)} %"


def _parameters(row: LeaderboardRow) -> str:
    return "–" if row.cost.parameters is None else count(row.cost.parameters)


def _seconds(row: LeaderboardRow) -> str:
    return "–" if row.cost.train_s is None else f"{row.cost.train_s:.1f}"


def _fresh_mean(row: LeaderboardRow) -> Any:
    return None if row.fresh is None else row.fresh.mean


def _fresh(row: LeaderboardRow) -> str:
    """Return the gain in the finals with fresh seeds and its interval."""
    if row.fresh is None:
        return "–"
    mean, low, high = percent(row.fresh.mean), row.fresh.low, row.fresh.high
    return mean if low is None or high is None else f"{mean} ({signed(low)} to {signed(high)})"


def _llm_tokens(row: LeaderboardRow) -> Any:
    return None if row.llm is None else row.llm.tokens


def _llm_usd(row: LeaderboardRow) -> Any:
    return None if row.llm is None else row.llm.usd


def _llm_cost(row: LeaderboardRow) -> str:
    return "–" if row.llm is None else usd(row.llm.usd)


def _interval(row: OperatorRow) -> str:
    if row.low is None or row.high is None:
        return "–"
    return f"{signed(row.low)} to {signed(row.high)}"


def _gain(row: OperatorRow) -> str:
    return "–" if row.gain is None else signed(row.gain)


OPERATORS: tuple[Column[OperatorRow], ...] = (
    Column("operator", "operator", lambda row: row.operator, rank=0, left=True),
    Column("proposed", "made", lambda row: row.proposed, rank=5),
    Column("accepted", "accepted", lambda row: row.accepted, rank=6),
    Column("rejected", "rejected", lambda row: row.rejected, rank=7),
    Column("duplicates", "duplicates", lambda row: row.duplicates, rank=8),
    Column("failed", "failed in training", lambda row: row.failed, rank=9),
    Column("compared", "n", lambda row: row.compared, rank=4),
    Column("gain", "gain over parent\xa0%", lambda row: row.gain, _gain, rank=1),
    Column("interval", "95 % interval", _interval, _interval, rank=3),
    Column("verdict", "verdict", lambda row: row.verdict, rank=2, left=True),
)


def _difference(row: RunRow) -> str:
    return "–" if row.difference is None else signed(row.difference)


def _child(row: RunRow) -> str:
    return "–" if row.best_child is None else f"#{row.best_child}"


RUNS: tuple[Column[RunRow], ...] = (
    Column("folder", "run", lambda row: row.folder, rank=0, left=True),
    Column("name", "name", lambda row: row.name, left=True),
    Column("state", "state", lambda row: row.state, rank=1, left=True),
    Column("designs", "designs", lambda row: row.designs, rank=5),
    Column("time", "time", lambda row: row.elapsed_s, lambda row: duration(row.elapsed_s), rank=6),
    Column("best_child", "best child", lambda row: row.best_child, _child, rank=2),
    Column("difference", "gain\xa0%", lambda row: row.difference, _difference, rank=3),
    Column("standing", "verdict", lambda row: row.standing or None, rank=4, left=True),
    Column("against", "against", lambda row: row.against or None, rank=4, left=True),
    Column("problem", "problem", lambda row: row.problem or None, rank=7, stretched=True),
)
