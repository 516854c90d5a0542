"""The figure of what gains cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from genesys_engine.engine.common.text import count, duration, percent, signed
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Figure, figure, hover
from genesys_engine.engine.score import standing
from genesys_engine.engine.views.costs import Cost
from genesys_engine.engine.views.leaderboard import LeaderboardRow

MOST_DOTS = 1500

AXES: Mapping[str, Callable[[Cost], float | None]] = {
    "FLOPs per token": lambda cost: cost.flops,
    "parameters": lambda cost: cost.parameters,
    "seconds of training": lambda cost: cost.train_s,
}


def cost_figure(rows: Sequence[LeaderboardRow], *, reference: str, scales: Sequence[str]) -> Figure:
    """Draw gain against each of `AXES`, a colour for each rung, with the designs that no cheaper
    one beats joined by steps."""
    rows = rows[:MOST_DOTS]  # best first
    views = {title: _traces(rows, scales, axis) for title, axis in AXES.items()}
    first = next(iter(AXES))
    switch = {
        title: (_arrays(traces), {"xaxis.title.text": title}) for title, traces in views.items()
    }
    layout = {
        "xaxis": {"title": {"text": first}, "showgrid": False, "rangemode": "tozero"},
        "yaxis": {
            "title": {"text": f"gain over {reference} (%)"},
            "zeroline": True,
            "zerolinecolor": fig.MUTED,
        },
    }
    label = "Gain against FLOPs per token, parameters, or seconds of training"
    return figure(views[first], layout, label=label, height=400, switch=switch)


@dataclass(frozen=True)
class _Dot:
    """A design at one rung: where it lies, and what its hover text."""

    x: float
    gain: float
    row: LeaderboardRow
    cost: Cost


def _traces(
    rows: Sequence[LeaderboardRow],
    scales: Sequence[str],
    axis: Callable[[Cost], float | None],
) -> list[dict[str, object]]:
    traces, ringed = [], []
    for rung, scale in enumerate(scales):
        dots = [
            _Dot(x, row.gains[scale], row, cost)
            for row in rows
            for cost in row.costs
            if cost.rung == scale and (x := axis(cost)) is not None
        ]
        colour = fig.SERIES[rung % len(fig.SERIES)]
        traces += [_dots(dots, f"at {scale}", colour), _front(dots, colour)]
        ringed += [dot for dot in dots if dot.row.standing == standing.REFERENCE]
    look = {"symbol": "circle-open", "size": 17, "line": {"width": 2}, "color": fig.TEXT}
    ring = {**_dots(ringed, "", fig.TEXT), "marker": look, "hoverinfo": "skip"}
    return [*traces, {**ring, "showlegend": False}]


def _dots(dots: Sequence[_Dot], name: str, colour: str) -> dict[str, object]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [dot.x for dot in dots],
        "y": [round(dot.gain, 4) for dot in dots],
        "marker": {"color": colour, "size": 10},
        "hoverinfo": "text",
        "hovertext": [_about(dot) for dot in dots],
    }


def _front(dots: Sequence[_Dot], colour: str) -> dict[str, object]:
    """Return the steps over the designs that gain more than all that are as cheap."""
    steps: list[_Dot] = []
    for dot in sorted(dots, key=lambda dot: (dot.x, -dot.gain)):
        if not steps or dot.gain > steps[-1].gain:
            steps.append(dot)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [dot.x for dot in steps],
        "y": [round(dot.gain, 4) for dot in steps],
        "line": {"shape": "hv", "color": colour, "width": 1.2, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _about(dot: _Dot) -> str:
    row, cost = dot.row, dot.cost
    facts = [f"{count(cost.flops or 0)} FLOPs per token"]
    if cost.compute is not None:
        facts[0] += f" ({signed(cost.compute, 0)} %)"
    facts += [] if cost.parameters is None else [f"{count(cost.parameters)} parameters"]
    facts += [] if cost.train_s is None else [duration(cost.train_s)]
    return hover(f"{row.label} · {percent(dot.gain)} at {cost.rung}", ", ".join(facts), row.change)


def _arrays(traces: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    return {key: [trace.get(key, []) for trace in traces] for key in ("x", "y", "hovertext")}
