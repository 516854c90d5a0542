"""The tables of an implementation study."""

from __future__ import annotations

from genesys_engine.engine.compare.implementation_summary import ArmCounts, ImplementationSummary
from genesys_engine.engine.compare.tables import (
    Row,
    Table,
    counted,
    interval,
    of_planned,
    plain,
    price,
    share,
    times,
)

FAILURES_SHOWN = 3


def implementation_tables(study: ImplementationSummary) -> list[Table]:
    """Return the arms, per proposal and by the number of units that a proposal changes."""
    title = "SIMULATION: no language model was asked. " if study.simulation else ""
    state = "" if study.complete else "PARTIAL: some proposals are still missing. "
    columns = (
        "arm", "n", "valid", "95 % interval", "attempts", "calls", "tokens", "tokens/valid",
        "USD", "lines", "most frequent failures",
    )  # fmt: skip
    rows = tuple(_arm_row(arm) for arm in study.arms)
    return [Table(f"{title}{state}Per proposal", columns, rows), _strata(study)]


def _arm_row(arm: ArmCounts) -> Row:
    cap = f" [{arm.cap}]" if arm.cap and arm.n != arm.planned else ""
    return (
        arm.arm,
        of_planned(arm.n, arm.planned) + cap,
        share(arm.valid_rate),
        interval(arm.interval),
        plain(arm.attempts),
        plain(arm.calls),
        counted(arm.tokens),
        counted(arm.tokens_per_valid),
        price(arm.usd, arm.n),
        plain(arm.lines, 0),
        times(dict(list(arm.failures.items())[:FAILURES_SHOWN])),
    )


def _strata(study: ImplementationSummary) -> Table:
    units = sorted({row.units for arm in study.arms for row in arm.strata})
    rows = []
    for arm in study.arms:
        cells = {row.units: f"{row.valid}/{row.n}" for row in arm.strata}
        rows.append((arm.arm, *(cells.get(each, "–") for each in units)))
    columns = ("arm", *(f"{each} unit{'s' if each > 1 else ''}" for each in units))
    return Table("Valid designs by number of units changed", columns, tuple(rows))
