"""The tables of an evolution study."""

from __future__ import annotations

from genesys_engine.engine.common.text import decimal
from genesys_engine.engine.compare.evolution_summary import ArmRuns, EvolutionSummary
from genesys_engine.engine.compare.tables import (
    Row,
    Table,
    counted,
    interval,
    of_planned,
    plain,
    price,
    share,
    time,
    times,
)

_DEVICES = {"cpu": "processor", "cuda": "GPU"}


def evolution_tables(study: EvolutionSummary) -> list[Table]:
    """Return the results of the arms and their cost per run."""
    state = "" if study.complete else "PARTIAL: some seeds are still missing. "
    title = (
        "Means over seeds; gains in percent of the reference, which leads until a design is better"
    )
    columns = (
        "arm", "runs", "best %", "95 % interval", "mean %", "area", "valid", "95 % interval",
    )  # fmt: skip
    reached = tuple(_reached(arm) for arm in study.arms)
    costs = (
        "arm", "LLM tokens", "USD", "tokens trained on", "device", "device time", "wall time",
        "runs ended by a cap",
    )  # fmt: skip
    used = tuple(_used(arm) for arm in study.arms)
    return [
        Table(state + title, columns, reached),
        Table("Cost per run, means over seeds", costs, used),
    ]


def _reached(arm: ArmRuns) -> Row:
    best = arm.intervals["best"]
    return (
        arm.arm,
        of_planned(arm.n, arm.planned),
        _mean(arm, "best"),
        "–" if best is None else f"{decimal(best.low)} to {decimal(best.high)}",
        _mean(arm, "mean"),
        _mean(arm, "area"),
        share(arm.valid_rate),
        interval(arm.valid_interval),
    )


def _mean(arm: ArmRuns, key: str) -> str:
    """Return a mean over runs, with their number if some lack the measure."""
    known = arm.known[key]
    of = f" (n = {known})" if 0 < known < arm.n else ""
    return plain(arm.means[key], 2) + of


def _used(arm: ArmRuns) -> Row:
    used = arm.used
    return (
        arm.arm,
        counted(used.llm_tokens),
        price(used.llm_usd, arm.n),
        counted(used.training_tokens),
        ", ".join(_DEVICES.get(name, name) for name in arm.device),
        time(used.device_s),
        time(used.wall_s),
        times(dict(arm.caps)),
    )
