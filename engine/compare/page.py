"""A study as one self-contained HTML page with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genesys_engine.engine.compare.tables import share, tables
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Trace, figure, hover
from genesys_engine.engine.report.page import asset, script_hash
from genesys_engine.engine.report.templates import render
from genesys_engine.engine.views.text import count

FILE = "compare.html"


def write_page(data: Mapping[str, Any], folder: Path) -> Path:
    """Write the page of a study, complete or not at all, and return its path."""
    target = folder / FILE
    partial = target.with_name(f".{FILE}.partial")
    try:
        partial.write_text(render_page(data), encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def render_page(data: Mapping[str, Any]) -> str:
    """Return the page of a study, which needs no network."""
    from plotly.offline import get_plotlyjs

    plots = _plots(data)
    sections = [
        (title, plots.get(number, ()), columns, rows)
        for number, (title, columns, rows) in enumerate(tables(data))
    ]
    scripts = [get_plotlyjs(), asset("report.js")]
    return render(
        "study",
        name=data["name"],
        remarks=_remarks(data),
        sentences=[each["sentence"] for each in data["comparisons"]],
        sections=sections,
        css=asset("report.css"),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
    )


def _remarks(data: Mapping[str, Any]) -> list[str]:
    remarks = []
    if data.get("simulation"):
        remarks.append("Simulation: no language model was asked.")
    if not data["complete"]:
        remarks.append("Partial: not every arm has met all that was planned.")
    return remarks


def _plots(data: Mapping[str, Any]) -> dict[int, Sequence[str]]:
    """Return the figures that stand above each table, by the table's number."""
    if data["study"] == "evolution":
        return {0: (_curves(data),)}
    return {0: (_rates(data["arms"]), _costs(data["arms"])), 1: (_strata(data["arms"]),)}


# --- implementation study ----------------------------------------------------------------------


def _colour(index: int) -> str:
    return fig.SERIES[index % len(fig.SERIES)]


def _rates(arms: Sequence[Mapping[str, Any]]) -> str:
    shown = [arm for arm in arms if arm["n"]]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [hover(arm["arm"]) for arm in shown],
        "y": [100 * arm["valid_rate"] for arm in shown],
        "error_y": _errors(shown),
        "marker": {"size": 11, "color": fig.ACCENT},
        "hoverinfo": "text",
        "hovertext": [_about(arm) for arm in shown],
    }
    layout = {
        "showlegend": False,
        "yaxis": {"title": {"text": "valid designs (%)"}, "range": [-3, 103]},
        "xaxis": {"showgrid": False},
    }
    label = "Share of valid designs of each arm, with 95 % Wilson intervals"
    return figure([trace], layout, label=label, caption=label)


def _errors(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (row["interval"][1] - row["valid_rate"]) for row in rows],
        "arrayminus": [100 * (row["valid_rate"] - row["interval"][0]) for row in rows],
        "color": fig.MUTED,
    }


def _about(arm: Mapping[str, Any]) -> str:
    failures = ", ".join(f"{code} ×{n}" for code, n in list(arm["failures"].items())[:4])
    return hover(f"{arm['valid']} of {arm['n']} valid ({share(arm['valid_rate'])})", failures)


def _costs(arms: Sequence[Mapping[str, Any]]) -> str:
    shown = [arm for arm in arms if arm["n"]]
    traces = [
        {
            "type": "scatter",
            "mode": "markers+text",
            "x": [arm["tokens"]],
            "y": [100 * arm["valid_rate"]],
            "text": [f"  {hover(arm['arm'])}"],
            "textposition": "middle right",
            "cliponaxis": False,
            "marker": {"size": 11, "color": _colour(index)},
            "hoverinfo": "text",
            "hovertext": [hover(f"{arm['arm']}: {count(arm['tokens'])} tokens per proposal")],
        }
        for index, arm in enumerate(shown)
    ]
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "tokens per proposal"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "valid designs (%)"}, "range": [-3, 103]},
    }
    label = "Share of valid designs over what a proposal cost"
    return figure(traces, layout, label=label, caption=label)


def _strata(arms: Sequence[Mapping[str, Any]]) -> str:
    traces: list[Trace] = []
    for index, arm in enumerate(arms):
        rows = arm["strata"]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": hover(arm["arm"]),
                "x": [row["units"] for row in rows],
                "y": [100 * row["valid_rate"] for row in rows],
                "error_y": _errors(rows) | {"color": _colour(index), "thickness": 1},
                "line": {"color": _colour(index), "dash": "solid" if index < 5 else "dot"},
                "hoverinfo": "text",
                "hovertext": [
                    hover(f"{arm['arm']}, {row['units']} units: {row['valid']} of {row['n']} valid")
                    for row in rows
                ],
            }
        )
    layout = {
        "xaxis": {"title": {"text": "units changed"}, "dtick": 1, "showgrid": False},
        "yaxis": {"title": {"text": "valid designs (%)"}, "range": [-3, 103]},
    }
    label = "Share of valid designs by the number of units that a proposal changes"
    return figure(traces, layout, label=label, caption=label)


# --- evolution study ---------------------------------------------------------------------------


def _curves(data: Mapping[str, Any]) -> str:
    traces: list[Trace] = []
    for index, arm in enumerate(data["arms"]):
        for run in arm["runs"]:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": hover(arm["arm"]),
                    "legendgroup": arm["arm"],
                    "showlegend": run is arm["runs"][0],
                    "x": run["costs"],
                    "y": run["best_so_far"],
                    "line": {"shape": "hv", "color": _colour(index), "width": 1.6},
                    "hoverinfo": "text",
                    "hovertext": [hover(f"{arm['arm']}, {run['item']}")] * len(run["costs"]),
                }
            )
    layout = {
        "xaxis": {"title": {"text": "training tokens"}},
        "yaxis": {"title": {"text": "best gain so far (%)"}},
    }
    label = "Best fitness so far over training tokens, one line for each run"
    return figure(traces, layout, label=label, caption=label)
