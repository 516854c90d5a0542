"""The figures of an evolution study: the best of each run, and the best so far over cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from genesys_engine.engine.compare.efficiency import best_after
from genesys_engine.engine.compare.evolution_summary import ArmRuns, EvolutionSummary
from genesys_engine.engine.compare.figures import colour, error_bars
from genesys_engine.engine.report import figures as fig
from genesys_engine.engine.report.figures import Trace, figure, hover

_DASHES = ("solid", "dash", "dot", "dashdot")


def evolution_figures(study: EvolutionSummary) -> dict[int, Sequence[str]]:
    """Return the figures above each table, by the table's number."""
    arms = [arm for arm in study.arms if arm.n]
    if not arms:
        return {}
    found: dict[int, Sequence[str]] = {0: (_bests(arms), _curves(study))}
    return found | {1: (_over_evaluations(study),)} if study.efficiency else found


def _bests(arms: Sequence[ArmRuns]) -> str:
    names = [hover(arm.arm) for arm in arms]
    known = [
        (arm.arm, mean, ends)
        for arm in arms
        if (mean := arm.means["best"]) is not None and (ends := arm.intervals["best"]) is not None
    ]
    means: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "mean over seeds, 95 % interval",
        "x": [hover(name) for name, _, _ in known],
        "y": [mean for _, mean, _ in known],
        "error_y": error_bars([(mean, ends.low, ends.high) for _, mean, ends in known]),
        "marker": {"size": 11, "color": fig.ACCENT},
        "hoverinfo": "y",
    }
    runs: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "one run",
        "x": [name for name, arm in zip(names, arms, strict=True) for _ in arm.runs],
        "y": [run.best for arm in arms for run in arm.runs],
        "marker": {"size": 8, "color": fig.MUTED, "symbol": "circle-open"},
        "hoverinfo": "text",
        "hovertext": [hover(f"{arm.arm}, {run.item}") for arm in arms for run in arm.runs],
    }
    layout = {"yaxis": {"title": {"text": "best gain (%)"}}, "xaxis": {"showgrid": False}}
    label = "Best fitness of each run, and its mean over seeds with a 95 % interval"
    return figure([runs, means], layout, label=label, caption=label)


def _over_evaluations(study: EvolutionSummary) -> str:
    """Return the mean best so far of each arm after each number of evaluations."""
    longest = max(each.evaluations[-1] for arm in study.arms for each in arm.runs)
    counts = list(range(longest + 1))
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": hover(arm.arm),
            "x": counts,
            "y": [fmean(best_after(each, count) for each in arm.runs) for count in counts],
            "line": {"shape": "hv", "color": colour(index), "dash": _DASHES[index % len(_DASHES)]},
        }
        for index, arm in enumerate(study.arms)
        if arm.runs
    ]
    layout = {
        "xaxis": {"title": {"text": "evaluations (trainings of children)"}},
        "yaxis": {"title": {"text": "best gain so far (%)"}},
    }
    label = "Best fitness so far over evaluations, means over seeds"
    return figure(traces, layout, label=label, caption=label)


def _curves(study: EvolutionSummary) -> str:
    traces: list[Trace] = []
    for index, arm in enumerate(study.arms):
        for run in arm.runs:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": hover(arm.arm),
                    "legendgroup": arm.arm,
                    "showlegend": run is arm.runs[0],
                    "x": [*run.costs, study.until_tokens],  # what it found stands till then
                    "y": [*run.best_so_far, run.best],
                    "line": {
                        "shape": "hv",
                        "color": colour(index),
                        # Runs of two arms may coincide: the first lies broad behind the others.
                        "width": 1.6 if index else 3.2,
                        "dash": _DASHES[index % len(_DASHES)],
                    },
                    "hoverinfo": "text",
                    "hovertext": [hover(f"{arm.arm}, {run.item}")] * (len(run.costs) + 1),
                }
            )
    layout = {
        "xaxis": {"title": {"text": "training tokens"}},
        "yaxis": {"title": {"text": "best gain so far (%)"}},
    }
    label = "Best fitness so far over training tokens, one line for each run"
    return figure(traces, layout, label=label, caption=label)
