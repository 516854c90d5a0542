"""The tables of an evolution study."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.engine.common.text import decimal
from genesys_engine.engine.compare.efficiency import ArmEfficiency
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
        *_efficiency(study),
        Table("Cost per run, means over seeds", costs, used),
    ]


def _efficiency(study: EvolutionSummary) -> list[Table]:
    """Return the best so far over evaluations, and how many it took to catch up with an arm."""
    if not (arms := study.efficiency):
        return []
    first = arms[0].arm
    points = max((arm.evaluations for arm in arms), key=len)
    curve = Table(
        "Best gain so far (%) after so many evaluations (trainings of children), means over seeds",
        ("arm", *map(str, points)),
        tuple((arm.arm, *_best_after(arm, len(points))) for arm in arms),
    )
    columns = (
        "arm", "caught up", "ratio", f"{_confidence(arms)} interval", "gain of its best child,"
        " trained again %", "95 % interval",
    )  # fmt: skip
    reached = Table(
        f"Evaluations until a run has found what {first} finds with all of its own, as a ratio:"
        " medians over seeds",
        columns,
        tuple(map(_caught_up, arms)),
    )
    return [curve, reached]


def _best_after(arm: ArmEfficiency, points: int) -> Sequence[str]:
    """Return a row of the best so far; dashes for an arm that has no run yet."""
    return [decimal(best, 2) for best in arm.best_after] or ["–"] * points


def _confidence(arms: Sequence[ArmEfficiency]) -> str:
    known = {arm.ratio.confidence for arm in arms if arm.ratio is not None}
    return f"{100 * min(known):.0f} %" if known else "95 %"


def _caught_up(arm: ArmEfficiency) -> Row:
    done = sum(count is not None for count in arm.needed.values())
    ratio, ends = arm.ratio, arm.retrained_interval
    return (
        arm.arm,
        f"{done}/{len(arm.needed)}",
        "–" if ratio is None else _or_more(ratio.median),
        "–" if ratio is None else f"{_or_more(ratio.low)} to {_or_more(ratio.high)}",
        plain(arm.retrained, 2),
        "–" if ends is None else f"{decimal(ends.low)} to {decimal(ends.high)}",
    )


def _or_more(ratio: float | None) -> str:
    """Return a ratio; one that was not reached within the study's evaluations is above 1."""
    return "> 1" if ratio is None else decimal(ratio, 2)


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
