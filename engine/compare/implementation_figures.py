"""The figures of an implementation study: rates, costs, and rates by units changed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from genesys_engine.engine.common.text import count
from genesys_engine.engine.compare.figures import colour, error_bars, marker
from genesys_engine.engine.compare.implementation_summary import (
    ArmCounts,
    Counts,
    ImplementationSummary,
)
from genesys_engine.engine.compare.tables import share
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Trace, figure, hover

_YAXIS = {"title": {"text": "valid designs (%)"}, "range": [-3, 103]}


def implementation_figures(study: ImplementationSummary) -> dict[int, Sequence[str]]:
    """Return the figures above each table, by the table's number."""
    arms = [arm for arm in study.arms if arm.n]
    if not arms:
        return {}
    units = sorted({row.units for arm in arms for row in arm.strata})
    # With one stratum the second figure would repeat the first.
    return {0: (_rates(arms), _costs(arms)), 1: (_strata(arms, units),) if units[1:] else ()}


def _rates(arms: Sequence[ArmCounts]) -> str:
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [hover(arm.arm) for arm in arms],
        "y": [_percent(arm) for arm in arms],
        "error_y": _errors(arms),
        "marker": {"size": 11, "color": fig.ACCENT},
        "hoverinfo": "text",
        "hovertext": [_about(arm) for arm in arms],
    }
    layout = {
        "showlegend": False,
        "yaxis": _YAXIS,
        "xaxis": {"showgrid": False},
    }
    label = "Share of valid designs of each arm, with 95 % Wilson intervals"
    return figure([trace], layout, label=label, caption=label)


def _percent(row: Counts) -> float:
    """Return the rate of a row that has results."""
    return 100 * row.valid / row.n


def _errors(rows: Sequence[Counts]) -> dict[str, object]:
    return error_bars(
        [(_percent(row), 100 * row.interval.low, 100 * row.interval.high) for row in rows]
    )


def _about(arm: ArmCounts) -> str:
    failures = ", ".join(f"{code} ×{n}" for code, n in list(arm.failures.items())[:4])
    return hover(f"{arm.valid} of {arm.n} valid ({share(arm.valid_rate)})", failures)


def _costs(arms: Sequence[ArmCounts]) -> str:
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": hover(arm.arm),
            "x": [arm.tokens],
            "y": [_percent(arm)],
            "error_y": _errors([arm]) | {"color": colour(index), "thickness": 1},
            "marker": marker(index),
            "hoverinfo": "text",
            "hovertext": [hover(f"{arm.arm}: {count(arm.tokens or 0)} tokens per proposal")],
        }
        for index, arm in enumerate(arms)
    ]
    layout = {
        "showlegend": True,
        "xaxis": {
            "title": {"text": "tokens per proposal, input and output"},
            "rangemode": "tozero",
        },
        "yaxis": _YAXIS,
    }
    label = "Share of valid designs over what a proposal cost, with 95 % Wilson intervals"
    return figure(traces, layout, label=label, caption=label)


def _strata(arms: Sequence[ArmCounts], units: Sequence[int]) -> str:
    """Draw the arms side by side at each number of units: their intervals must not overlap."""
    room = 0.6 * min(after - before for before, after in itertools.pairwise(units))
    traces: list[Trace] = []
    for index, arm in enumerate(arms):
        rows = arm.strata
        aside = room * (index / max(1, len(arms) - 1) - 0.5)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": hover(arm.arm),
                "x": [row.units + aside for row in rows],
                "y": [_percent(row) for row in rows],
                "error_y": _errors(rows) | {"color": colour(index), "thickness": 1},
                "marker": marker(index, 9),
                "hoverinfo": "text",
                "hovertext": [
                    hover(f"{arm.arm}, {row.units} units: {row.valid} of {row.n} valid")
                    for row in rows
                ],
            }
        )
    layout = {
        "xaxis": {"title": {"text": "units changed"}, "tickvals": units, "showgrid": False},
        "yaxis": _YAXIS,
    }
    label = "Share of valid designs by units changed, with 95 % Wilson intervals"
    return figure(traces, layout, label=label, caption=label)
