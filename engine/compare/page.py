"""A study as one self-contained HTML page with plots; it needs no network.

Nearly all of its 4.8 MB is Plotly, as in the report of a run.  The Python package brings that one
bundle; a smaller one would be a second copy of it from another registry, pinned and licensed in
this repository, and saves what a reader on a disk does not notice (compressed it is 1.4 MB).
"""

from __future__ import annotations

from pathlib import Path

from genesys_engine.engine.common.disk import write_whole
from genesys_engine.engine.compare.evolution_figures import evolution_figures
from genesys_engine.engine.compare.evolution_summary import EvolutionSummary
from genesys_engine.engine.compare.implementation_figures import implementation_figures
from genesys_engine.engine.compare.summary import Summary, findings, tables
from genesys_engine.engine.report.page import asset, script_hash
from genesys_engine.engine.report.templates import render

FILE = "compare.html"


def write_page(study: Summary, folder: Path) -> Path:
    """Write the page of a study, complete or not at all, and return its path."""
    target = folder / FILE
    write_whole(target, render_page(study), private=True)
    return target


def render_page(study: Summary) -> str:
    """Return the page of a study, which needs no network."""
    from plotly.offline import get_plotlyjs

    if isinstance(study, EvolutionSummary):
        plots = evolution_figures(study)
    else:
        plots = implementation_figures(study)
    scripts = [get_plotlyjs(), asset("colours.js"), asset("report.js")]
    return render(
        "study",
        name=study.name,
        remarks=_remarks(study),
        lead=_lead(study),
        sentences=findings(study),
        others=[each.sentence for each in study.comparisons if each.first != study.arms[0].arm],
        sections=[
            (table.title, plots.get(number, ()), table.columns, table.rows)
            for number, table in enumerate(tables(study))
        ],
        css=asset("report.css"),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
    )


def _lead(study: Summary) -> str:
    """Return what was compared, and how the numbers are to be read."""
    arms = len(study.arms)
    if isinstance(study, EvolutionSummary):
        planned = max(arm.planned for arm in study.arms)
        return (
            f"{arms} arms, up to {planned} whole runs each, one for each seed. Gains are in percent"
            " of the reference design at the same rung; a run that finds nothing better ends at"
            " 0. Bars are 95 % intervals over the seeds (bootstrap, or"
            " Student's t where that is wider); comparisons are paired by seed."
        )
    return (
        f"{arms} arms, {study.proposals} proposals. A design is valid if it passes the check and"
        " every unit that the proposal names is changed, in its code and in what it computes. Bars"
        " are 95 % Wilson intervals; comparisons are paired by proposal."
    )


def _remarks(study: Summary) -> list[str]:
    remarks = []
    if study.simulation:
        remarks.append("Simulation: no language model was asked.")
    if not study.complete:
        remarks.append("Partial: some planned results are still missing.")
    return remarks
