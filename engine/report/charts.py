"""The figures of the report, from views to Plotly traces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genesys_engine.engine.common.text import count, percent
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Figure, Trace, figure, hover
from genesys_engine.engine.score.significance import SIGMAS
from genesys_engine.engine.views.history import Point, best_so_far, latest, thinned
from genesys_engine.engine.views.leaderboard import LeaderboardRow
from genesys_engine.engine.views.lineage import Edge, Lineage, Node

_LINE_PX, _TREE_MIN_PX, _TREE_MAX_PX = 24, 300, 1800
_BEND = 8  # points along one edge
MOST_DESIGNS, MOST_POINTS = 600, 1500
"""What is drawn of a large run: a page must open, and nobody reads ten thousand dots."""


# --- the evolution tree ----------------------------------------------------------------------


def tree_figure(
    tree: Lineage, *, best: int | None, scales: Sequence[str], colour_limit: float
) -> Figure:
    """Draw the evolution tree; gains beyond `colour_limit` percent take the end colours."""
    at = {node.design: node for node in tree.nodes}
    verified = [node for node in tree.nodes if node.fitness is not None]
    others = [node for node in tree.nodes if node.fitness is None]
    crossed = [node for node in others if not node.accepted or node.disqualified]
    traces = [
        _edges(at, [edge for edge in tree.edges if not edge.primary], dash="dot"),
        _edges(at, [edge for edge in tree.edges if edge.primary], dash="solid"),
        _nodes(crossed, scales, symbol="x-thin"),
        _nodes([node for node in others if node not in crossed], scales, symbol="circle-open"),
        _verified(verified, scales, colour_limit),
        *_marked(at, best),
    ]
    height = min(_TREE_MAX_PX, max(_TREE_MIN_PX, _LINE_PX * tree.lines + 70))
    named = best is not None and best in at and at[best].label[0] == "#"
    layout = {
        "showlegend": False,
        "annotations": [_best_label(at[best])] if named and best is not None else [],
        "xaxis": {
            "title": {"text": "generation"},
            "dtick": max(1, math.ceil(tree.generations / 12)),
            "range": [-0.12, max(1, tree.generations - 1) + 0.3],
            "showgrid": False,
        },
        "yaxis": {"visible": False, "range": [tree.lines - 0.2, -0.8]},
        "margin": {"t": 6, "l": 72},
    }
    return figure(
        traces, layout, label="Evolution tree: designs by generation, parents to children",
        height=height,
    )  # fmt: skip


def _edges(at: Mapping[int, Node], edges: Iterable[Edge], *, dash: str) -> Trace:
    x: list[float | None] = []
    y: list[float | None] = []
    for edge in edges:
        parent, child = at[edge.parent], at[edge.child]
        for step in range(_BEND + 1):
            t = step / _BEND
            ease = t * t * (3 - 2 * t)
            x.append(round(parent.x + t * (child.x - parent.x), 3))
            y.append(round(parent.y + ease * (child.y - parent.y), 3))
        x.append(None)
        y.append(None)
    line = {"color": fig.MUTED, "width": 1.2, "dash": dash}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line,
            "hoverinfo": "skip", "opacity": 0.55}  # fmt: skip


def _nodes(nodes: Sequence[Node], scales: Sequence[str], *, symbol: str) -> Trace:
    marker = {"symbol": symbol, "size": 8, "color": fig.MUTED, "line": {"width": 1.5}}
    marker["line"]["color"] = fig.MUTED  # type: ignore[index]
    return {
        **_places(nodes),
        "marker": marker,
        "hovertext": [_about(n, scales) for n in nodes],
    }


def _verified(nodes: Sequence[Node], scales: Sequence[str], limit: float) -> Trace:
    marker = {
        "color": [node.fitness for node in nodes],
        "colorscale": [[0, fig.BAD], [0.5, fig.MIDDLE], [1, fig.GOOD]],
        "cmin": -limit,
        "cmax": limit,
        "size": [11 + 5 * (node.rung or 0) for node in nodes],
        "opacity": 1,
        "line": {"width": 1, "color": fig.SURFACE},
    }
    texts = [_about(node, scales) for node in nodes]
    return {**_places(nodes), "marker": marker, "hovertext": texts}


def _marked(at: Mapping[int, Node], best: int | None) -> list[Trace]:
    """Return the labels of seeds and a ring around the best."""
    seeds = [node for node in at.values() if not node.parents and node.label[0] != "#"]
    labels: dict[str, object] = {
        **_places(seeds),
        "mode": "text",
        "text": [f"{hover(node.label)}   " for node in seeds],
        "textposition": "middle left",
        "textfont": {"size": 12},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "x": [node.x - 0.02 for node in seeds],
    }
    if best is None or best not in at:
        return [labels]
    node = at[best]
    size = 20 + 5 * (node.rung or 0)
    ring = {"symbol": "circle-open", "size": size, "color": fig.TEXT, "line": {"width": 2}}
    return [labels, {**_places([node]), "marker": ring, "hoverinfo": "skip"}]


def _best_label(node: Node) -> dict[str, object]:
    """Return the label of the best: to its right, where no other dot of its generation lies."""
    return {
        "x": node.x,
        "y": round(node.y, 3),
        "text": f"<b>{hover(node.label)}</b>",
        "showarrow": False,
        "xanchor": "left",
        "xshift": 13 + 2.5 * (node.rung or 0),
        "bgcolor": fig.SURFACE,
        "borderpad": 1,
    }


def _places(nodes: Sequence[Node]) -> dict[str, object]:
    x, y = [node.x for node in nodes], [round(node.y, 3) for node in nodes]
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "hoverinfo": "text"}


def _about(node: Node, scales: Sequence[str]) -> str:
    state = "accepted" if node.accepted else "rejected"
    state = "disqualified" if node.disqualified else state
    if node.fitness is not None and node.rung is not None:
        state = f"{percent(node.fitness)} up to {scales[node.rung]}"
    return hover(f"{node.label} · {state} · {node.operator}", node.change)


# --- fitness over designs and over time ------------------------------------------------------


def fitness_figure(
    points: Sequence[Point],
    rows: Mapping[int, LeaderboardRow],
    *,
    reference: str,
    scales: Sequence[str],
    sigma: float | None,
) -> Figure:
    """Draw gains, the best so far and the noise band: where the designs stand in the end by
    number, or where they stood after each verification by time."""
    over_designs = _fitness_traces(latest(points), rows, scales, lambda p: p.design)
    over_time = _fitness_traces(points, rows, scales, lambda p: round(p.minute, 3))
    back, moves = (
        {
            key: [trace.get(key, []) for trace in traces]
            for key in ("x", "y", "hovertext", "customdata")
        }
        for traces in (over_designs, over_time)
    )
    switch = {
        "by design": (back, _axis("design number")),
        "by time": (moves, _axis("minutes of work")),
    }
    layout = {
        "xaxis": {"title": {"text": "design number"}, "showgrid": False},
        "yaxis": {
            "title": {"text": f"gain over {reference} (%)"},
            "zeroline": True,
            "zerolinecolor": fig.MUTED,
        },
        "shapes": _band(sigma),
    }
    label = "Fitness of the designs, the best so far, and the training noise"
    return figure(over_designs, layout, label=label, height=420, switch=switch)


def _rungs(scales: Sequence[str]) -> range:
    return range(1, len(scales) + 1)


def _fitness_traces(
    points: Sequence[Point], rows: Mapping[int, LeaderboardRow], scales: Sequence[str], x: Any
) -> list[dict[str, object]]:
    traces: list[dict[str, object]] = []
    drawn = thinned(points, MOST_POINTS)
    for rungs in _rungs(scales):
        at = [point for point in drawn if point.rungs == rungs]
        trace: dict[str, object] = {
            "type": "scatter",
            "mode": "markers",
            "name": f"up to {scales[rungs - 1]}",
            "x": [x(point) for point in at],
            "y": [round(point.fitness, 4) for point in at],
            "marker": {
                "color": fig.SERIES[(rungs - 1) % len(fig.SERIES)],
                "size": 7 + 2 * min(rungs, 4),
            },
            "hoverinfo": "text",
            "hovertext": [describe(rows[p.design], scales, p.fitness, p.rungs) for p in at],
            "customdata": [point.design for point in at],
        }
        traces.append(trace)
    best = best_so_far(points)
    last = [(x(points[-1]), best[-1].fitness)] if points else []
    steps_at = [*((x(point), point.fitness) for point in best), *last]
    steps: dict[str, object] = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": [at for at, _ in steps_at],
        "y": [round(gain, 4) for _, gain in steps_at],
        "line": {"shape": "hv", "color": fig.TEXT, "width": 1.6},
        "hoverinfo": "skip",
    }
    return [*traces, steps]


def describe(
    row: LeaderboardRow, scales: Sequence[str], fitness: float | None = None, rungs: int = 0
) -> str:
    """Return the hover text of a design as it stands, or as it stood when it had `fitness`."""
    name = row.name or f"#{row.design}"
    if fitness is not None and rungs < row.rungs:
        return hover(f"{name} · {percent(fitness)} up to {scales[rungs - 1]}", row.change)
    return hover(f"{name} · {percent(row.fitness)} up to {row.rung} · {row.standing}", row.change)


def _band(sigma: float | None) -> list[dict[str, object]]:
    if sigma is None:
        return []
    box = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": -SIGMAS * sigma}
    look = {"fillcolor": fig.ACCENT, "opacity": 0.13, "line": {"width": 0}, "layer": "below"}
    return [{**box, "y1": SIGMAS * sigma, **look}]


def _axis(title: str) -> dict[str, str]:
    return {"xaxis.title.text": title}


# --- quadrants -------------------------------------------------------------------------------


def quadrant_figure(
    rows: Sequence[LeaderboardRow], *, reference: str, scales: Sequence[str]
) -> Figure:
    """Draw fitness against confidence with the borders of the top quarters."""
    quarter = max(1, math.ceil(len(rows) / 4))
    fitness = sorted((row.fitness for row in rows), reverse=True)
    good = (fitness[quarter - 1] + fitness[min(quarter, len(rows) - 1)]) / 2
    confident = sorted((row.rungs for row in rows), reverse=True)[quarter - 1] - 0.5
    # They come best first: the first half is drawn whole, the others thinned.
    whole = rows[: MOST_POINTS // 2]
    rest = rows[len(whole) :]
    rows = [*whole, *rest[:: max(1, -(-len(rest) // (MOST_POINTS // 2)))]]
    marker = {
        "color": [fig.SERIES[(row.rungs - 1) % len(fig.SERIES)] for row in rows],
        "size": 10,
        "opacity": 0.8,
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [round(row.rungs + _spread(row.design), 3) for row in rows],
        "y": [round(row.fitness, 4) for row in rows],
        "marker": marker,
        "hoverinfo": "text",
        "hovertext": [describe(row, scales) for row in rows],
    }
    line = {"type": "line", "line": {"color": fig.MUTED, "width": 1, "dash": "dash"}}
    across = {"xref": "paper", "x0": 0, "x1": 1, "y0": good, "y1": good}
    down = {"yref": "paper", "y0": 0, "y1": 1, "x0": confident, "x1": confident}
    ticks = list(_rungs(scales))
    layout = {
        "showlegend": False,
        "shapes": [{**line, **across}, {**line, **down}],
        "annotations": [_corner(x, y) for x in (0, 1) for y in (0, 1)],
        "xaxis": {
            "title": {"text": "confidence: verified up to"},
            "tickvals": ticks,
            "ticktext": list(scales),
            "range": [0.35, len(scales) + 0.65],
            "showgrid": False,
        },
        "yaxis": {"title": {"text": f"gain over {reference} (%)"}},
        "margin": {"t": 28},
    }
    return figure([dots], layout, label="Fitness against confidence, in four quadrants", height=400)


def _corner(x: int, y: int) -> dict[str, object]:
    words = f"{'good' if y else 'poor'}, {'confident' if x else 'unconfident'}"
    return {
        "text": words,
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "right" if x else "left",
        "yanchor": "bottom",
        "font": {"size": 11, "color": fig.MUTED},
    }


def _spread(design: int) -> float:
    """Return an offset that keeps designs of equal confidence apart (golden ratio)."""
    return (design * 0.6180339887 % 1 - 0.5) * 0.5


# --- loss curves -----------------------------------------------------------------------------

Curve = Sequence[tuple[float, float]]


def curves_figure(scale: str, highlighted: Mapping[str, Curve], others: Sequence[Curve]) -> Figure:
    """Draw the loss curves of one rung: `highlighted` by label, the others faint."""
    faint: dict[str, object] = {
        "type": "scatter",
        "mode": "lines",
        "name": "others",
        "x": [x for curve in others for x in (*(p[0] for p in curve), None)],
        "y": [y for curve in others for y in (*(round(p[1], 4) for p in curve), None)],
        "line": {"color": fig.MUTED, "width": 1},
        "opacity": 0.3,
        "hoverinfo": "skip",
    }
    bold = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [tokens for tokens, _ in curve],
            "y": [round(loss, 4) for _, loss in curve],
            "line": {"color": fig.SERIES[index % len(fig.SERIES)], "width": 2.2},
            "hovertext": [f"{name} · {count(t)} tokens · {loss:.3f}" for t, loss in curve],
            "hoverinfo": "text",
        }
        for index, (name, curve) in enumerate(highlighted.items())
    ]
    layout = {
        "legend": {"title": {"text": f"<b>{hover(scale)}</b>  "}},
        "xaxis": {"title": {"text": "training tokens"}, "showgrid": False},
        "yaxis": {"title": {"text": "training loss (nats/token)"}},
    }
    return figure([faint, *bold], layout, label=f"Loss curves at {scale}", height=360)
