"""From a Plotly figure to HTML: data in the page, drawn by its one script.

Colours are given as `var(--name)` of the page's style sheet; the script fills them in, so that
a figure follows the reader's light or dark theme.
"""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genesys_engine.engine.report.templates import render

TEXT, MUTED, GRID, SURFACE = "var(--text)", "var(--muted)", "var(--grid)", "var(--surface)"
GOOD, MIDDLE, BAD, ACCENT = "var(--good)", "var(--middle)", "var(--bad)", "var(--accent)"
SERIES = tuple(f"var(--series-{i})" for i in range(1, 6))

Trace = Mapping[str, object]
"""A trace of Plotly, in Plotly's own words."""


@dataclass(frozen=True)
class Drawing:
    """What a figure shows: Plotly's `data` and `layout` and the `switch` between views."""

    content: Mapping[str, object]
    label: str
    height: int
    caption: str


class Figure(str):
    """The HTML of a figure, for a page that holds its own data; `drawing` for one that asks."""

    drawing: Drawing

    def __new__(cls, page: str, drawing: Drawing) -> Figure:
        """Return the HTML with what is drawn."""
        made = super().__new__(cls, page)
        made.drawing = drawing
        return made


def figure(
    traces: Sequence[Trace],
    layout: Mapping[str, object],
    *,
    label: str,
    height: int = 380,
    caption: str = "",
    switch: Mapping[str, tuple[Mapping[str, object], Mapping[str, object]]] | None = None,
) -> Figure:
    """Return a figure: its HTML, and what is drawn.

    Args:
        traces: Plotly traces; texts in them must be escaped (`hover`).
        layout: what differs from the page's own layout.
        label: what the figure shows, for readers who cannot see it.
        height: in CSS pixels.
        caption: plain text below it.
        switch: label of a button -> the updates of traces and layout that it makes
            (`Plotly.update`); the first is what the figure shows at the start.
    """
    views = [{"label": text, "args": args} for text, args in (switch or {}).items()]
    drawn = {"data": list(traces), "layout": _merge(_base(height), layout), "switch": views}
    content = {key: _finite(value) for key, value in drawn.items()}
    # `<` ends a script element in HTML; in JSON it may stand as an escape.
    data = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    page = render("figure", data=data, label=label, height=height, caption=caption)
    return Figure(page, Drawing(content, label, height, caption))


def _finite(value: object) -> object:
    """Return a value of a figure as JSON data: what is no number is drawn as a gap."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def hover(*lines: str, width: int = 58) -> str:
    """Return lines of plain text for a hover box: wrapped, and escaped, since Plotly reads HTML."""
    wrapped = (part for line in lines if line for part in textwrap.wrap(line, width))
    return "<br>".join(html.escape(part) for part in wrapped)


def _base(height: int) -> dict[str, object]:
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "automargin": True,
        "title": {"font": {"size": 12, "color": MUTED}},
        "tickfont": {"size": 12},
    }
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": TEXT},
        "hoverlabel": {
            "bgcolor": SURFACE,
            "bordercolor": GRID,
            "align": "left",
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": TEXT},
        },
        "hovermode": "closest",
        "dragmode": False,
        "legend": {"orientation": "h", "x": 0, "y": -0.17, "yanchor": "top", "font": {"size": 12}},
        "xaxis": axis,
        "yaxis": axis,
    }


def _merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            merged[key] = _merge(known, value)
        else:
            merged[key] = value
    return merged
