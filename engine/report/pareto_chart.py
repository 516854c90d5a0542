"""The figure of any two numbers of the designs, with those that nobody beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genesys_engine.engine.common.text import number
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Figure, figure, hover
from genesys_engine.engine.views.metrics import Axis, MetricTable, unbeaten

MOST_DOTS = 1500


def pareto_figure(
    table: MetricTable, x: Axis, y: Axis, *, names: Mapping[int, str], scales: Sequence[str]
) -> Figure:
    """Draw the designs by `x` and `y`, a colour for each rung; steps join the front.

    Scores of different rungs do not compare: the front is that of the highest rung with two
    designs or more.
    """
    dots = _dots(table, x, y)
    rungs = sorted({rung for _, _, _, rung in dots})
    traces = [_trace([dot for dot in dots if dot[3] == rung], names, scales, rung, x, y)
              for rung in rungs]  # fmt: skip
    several = [rung for rung in rungs if sum(dot[3] == rung for dot in dots) > 1]
    if several:
        traces.append(_front([dot for dot in dots if dot[3] == several[-1]], x, y))
    layout = {
        "xaxis": {"title": {"text": _title(x)}, "showgrid": False},
        "yaxis": {"title": {"text": _title(y)}},
    }
    label = f"{y.title} against {x.title}, with the designs that none beats in both"
    return figure(traces, layout, label=label, height=420)


Dot = tuple[int, float, float, int]
"""Design, x, y, rung."""


def _dots(table: MetricTable, x: Axis, y: Axis) -> list[Dot]:
    columns = zip(table.designs, table.values[x.key], table.values[y.key], table.rungs, strict=True)
    return [(d, a, b, rung) for d, a, b, rung in columns if a is not None and b is not None]


def _trace(
    dots: Sequence[Dot],
    names: Mapping[int, str],
    scales: Sequence[str],
    rung: int,
    x: Axis,
    y: Axis,
) -> dict[str, object]:
    step = max(1, -(-len(dots) // MOST_DOTS))
    dots = [*dots[: MOST_DOTS // 2], *dots[MOST_DOTS // 2 :: step]]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"up to {scales[rung]}",
        "x": [dot[1] for dot in dots],
        "y": [dot[2] for dot in dots],
        "customdata": [dot[0] for dot in dots],
        "marker": {"color": fig.SERIES[rung % len(fig.SERIES)], "size": 8, "opacity": 0.8},
        "hoverinfo": "text",
        "hovertext": [
            hover(names.get(d, f"#{d}"), f"{x.title}: {number(a)}", f"{y.title}: {number(b)}")
            for d, a, b, _ in dots
        ],
    }


def _front(dots: Sequence[Dot], x: Axis, y: Axis) -> dict[str, object]:
    across, upward = [dot[1] for dot in dots], [dot[2] for dot in dots]
    front = unbeaten(across, upward, x_up=x.up, y_up=y.up)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "unbeaten in both",
        "x": [across[i] for i in front],
        "y": [upward[i] for i in front],
        "line": {"color": fig.TEXT, "width": 1.4, "shape": "hv" if x.up == y.up else "vh"},
        "hoverinfo": "skip",
    }


def _title(axis: Axis) -> str:
    return f"{axis.title} ({'more' if axis.up else 'less'} is better)"
