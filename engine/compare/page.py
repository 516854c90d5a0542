"""A study as one self-contained HTML page with plots: what is in it needs no network.

Nearly all of its 4.8 MB is Plotly, as in the report of a run.  The Python package brings that one
bundle; a smaller one would be a second copy of it from another registry, pinned and licensed in
this repository, and saves what a reader on a disk does not notice (compressed it is 1.4 MB).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genesys_engine.engine.common.text import count
from genesys_engine.engine.compare.tables import share, tables
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Trace, figure, hover
from genesys_engine.engine.report.page import asset, script_hash
from genesys_engine.engine.report.templates import render
from genesys_engine.gab.private import private_file

FILE = "compare.html"
_DASHES = ("solid", "dash", "dot", "dashdot")
_SHAPES = ("circle", "diamond", "square", "cross")


def write_page(data: Mapping[str, Any], folder: Path) -> Path:
    """Write the page of a study, complete or not at all, and return its path."""
    target = folder / FILE
    partial = target.with_name(f".{FILE}.partial")
    try:
        private_file(partial).write_text(render_page(data), encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def render_page(data: Mapping[str, Any]) -> str:
    """Return the page of a study, which needs no network."""
    from plotly.offline import get_plotlyjs

    plots = _plots(data)
    first = data["arms"][0]["arm"]
    sections = [
        (title, plots.get(number, ()), columns, rows)
        for number, (title, columns, rows) in enumerate(tables(data))
    ]
    scripts = [get_plotlyjs(), asset("report.js")]
    return render(
        "study",
        name=data["name"],
        remarks=_remarks(data),
        lead=_lead(data),
        sentences=[each["sentence"] for each in data["comparisons"] if each["first"] == first],
        others=[each["sentence"] for each in data["comparisons"] if each["first"] != first],
        sections=sections,
        css=asset("report.css"),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
    )


def _lead(data: Mapping[str, Any]) -> str:
    """Return what was compared, and how the numbers are to be read."""
    arms = len(data["arms"])
    if data["study"] == "evolution":
        planned = max(arm["planned"] for arm in data["arms"])
        return (
            f"{arms} arms, up to {planned} whole runs each, one for each seed. Gains are in percent"
            " of the reference design at the same rung; a run that finds nothing better ends at"
            " 0. Bars are 95 % intervals over the seeds (bootstrap, or"
            " Student's t where that is wider); comparisons are paired by seed."
        )
    return (
        f"{arms} arms, {data['proposals']} proposals. A design is valid if it passes the check and"
        " every unit that the proposal names is changed, in its code and in what it computes. Bars"
        " are 95 % Wilson intervals; comparisons are paired by proposal."
    )


def _remarks(data: Mapping[str, Any]) -> list[str]:
    remarks = []
    if data.get("simulation"):
        remarks.append("Simulation: no language model was asked.")
    if not data["complete"]:
        remarks.append("Partial: some planned results are still missing.")
    return remarks


def _plots(data: Mapping[str, Any]) -> dict[int, Sequence[str]]:
    """Return the figures that stand above each table, by the table's number."""
    arms = [arm for arm in data["arms"] if arm["n"]]
    if not arms:
        return {}
    if data["study"] == "evolution":
        return {0: (_bests(arms), _curves(data))}
    units = sorted({row["units"] for arm in arms for row in arm["strata"]})
    # With one stratum the second figure would repeat the first.
    return {0: (_rates(arms), _costs(arms)), 1: (_strata(arms, units),) if units[1:] else ()}


def _colour(index: int) -> str:
    return fig.SERIES[index % len(fig.SERIES)]


def _marker(index: int, size: int = 11) -> dict[str, Any]:
    """Return the marker of an arm: colours come back after five, with another shape."""
    shape = _SHAPES[index // len(fig.SERIES) % len(_SHAPES)]
    return {"size": size, "color": _colour(index), "symbol": shape}


# --- implementation study ----------------------------------------------------------------------


def _rates(arms: Sequence[Mapping[str, Any]]) -> str:
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [hover(arm["arm"]) for arm in arms],
        "y": [100 * arm["valid_rate"] for arm in arms],
        "error_y": _errors(arms),
        "marker": {"size": 11, "color": fig.ACCENT},
        "hoverinfo": "text",
        "hovertext": [_about(arm) for arm in arms],
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
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": hover(arm["arm"]),
            "x": [arm["tokens"]],
            "y": [100 * arm["valid_rate"]],
            "error_y": _errors([arm]) | {"color": _colour(index), "thickness": 1},
            "marker": _marker(index),
            "hoverinfo": "text",
            "hovertext": [hover(f"{arm['arm']}: {count(arm['tokens'])} tokens per proposal")],
        }
        for index, arm in enumerate(arms)
    ]
    layout = {
        "showlegend": True,
        "xaxis": {
            "title": {"text": "tokens per proposal, input and output"},
            "rangemode": "tozero",
        },
        "yaxis": {"title": {"text": "valid designs (%)"}, "range": [-3, 103]},
    }
    label = "Share of valid designs over what a proposal cost, with 95 % Wilson intervals"
    return figure(traces, layout, label=label, caption=label)


def _strata(arms: Sequence[Mapping[str, Any]], units: Sequence[int]) -> str:
    """Draw the arms next to each other at each number of units, so that no interval hides one."""
    room = 0.6 * min(after - before for before, after in itertools.pairwise(units))
    traces: list[Trace] = []
    for index, arm in enumerate(arms):
        rows = arm["strata"]
        aside = room * (index / max(1, len(arms) - 1) - 0.5)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": hover(arm["arm"]),
                "x": [row["units"] + aside for row in rows],
                "y": [100 * row["valid_rate"] for row in rows],
                "error_y": _errors(rows) | {"color": _colour(index), "thickness": 1},
                "marker": _marker(index, 9),
                "hoverinfo": "text",
                "hovertext": [
                    hover(f"{arm['arm']}, {row['units']} units: {row['valid']} of {row['n']} valid")
                    for row in rows
                ],
            }
        )
    layout = {
        "xaxis": {"title": {"text": "units changed"}, "tickvals": units, "showgrid": False},
        "yaxis": {"title": {"text": "valid designs (%)"}, "range": [-3, 103]},
    }
    label = "Share of valid designs by units changed, with 95 % Wilson intervals"
    return figure(traces, layout, label=label, caption=label)


# --- evolution study ---------------------------------------------------------------------------


def _bests(arms: Sequence[Mapping[str, Any]]) -> str:
    names = [hover(arm["arm"]) for arm in arms]
    known = [arm for arm in arms if arm["intervals"]["best"] is not None]
    means: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "mean over seeds, 95 % interval",
        "x": [hover(arm["arm"]) for arm in known],
        "y": [arm["means"]["best"] for arm in known],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [arm["intervals"]["best"][1] - arm["means"]["best"] for arm in known],
            "arrayminus": [arm["means"]["best"] - arm["intervals"]["best"][0] for arm in known],
            "color": fig.MUTED,
        },
        "marker": {"size": 11, "color": fig.ACCENT},
        "hoverinfo": "y",
    }
    runs: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "one run",
        "x": [name for name, arm in zip(names, arms, strict=True) for _ in arm["runs"]],
        "y": [run["best"] for arm in arms for run in arm["runs"]],
        "marker": {"size": 8, "color": fig.MUTED, "symbol": "circle-open"},
        "hoverinfo": "text",
        "hovertext": [hover(f"{arm['arm']}, {run['item']}") for arm in arms for run in arm["runs"]],
    }
    layout = {"yaxis": {"title": {"text": "best gain (%)"}}, "xaxis": {"showgrid": False}}
    label = "Best fitness of each run, and its mean over seeds with a 95 % interval"
    return figure([runs, means], layout, label=label, caption=label)


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
                    "x": [*run["costs"], data["until_tokens"]],  # what it found stands till then
                    "y": [*run["best_so_far"], run["best"]],
                    "line": {
                        "shape": "hv",
                        "color": _colour(index),
                        # Runs of two arms may coincide: the first lies broad behind the others.
                        "width": 1.6 if index else 3.2,
                        "dash": _DASHES[index % len(_DASHES)],
                    },
                    "hoverinfo": "text",
                    "hovertext": [hover(f"{arm['arm']}, {run['item']}")] * (len(run["costs"]) + 1),
                }
            )
    layout = {
        "xaxis": {"title": {"text": "training tokens"}},
        "yaxis": {"title": {"text": "best gain so far (%)"}},
    }
    label = "Best fitness so far over training tokens, one line for each run"
    return figure(traces, layout, label=label, caption=label)
