"""`genesys-engine leaderboard RUN`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genesys_engine.engine.cli.output import json_option, note, print_json
from genesys_engine.engine.cli.run_folder import run_argument
from genesys_engine.engine.cli.tables import Layout, layout_options

if TYPE_CHECKING:
    from genesys_engine.engine.score.fitness import Measure
    from genesys_engine.engine.views.leaderboard import LeaderboardRow


@click.command("leaderboard")
@run_argument
@click.option("--limit", type=click.IntRange(min=1), help="List at most this many designs.")
@click.option("--operators", "by_operator", is_flag=True, help="Show operators instead.")
@layout_options
@json_option
def command(run: Path, limit: int | None, by_operator: bool, as_json: bool, layout: Layout) -> None:
    """List the verified designs of RUN: highest rung first, then best gain.

    Each rung has its own table. `gain` is in percent over the reference design, at the rung of the
    scores and costs next to it; `mean gain`, over all rungs, ranks the designs and decides the
    verdict. Differences within twice the training noise are not significant; a finalist is judged
    only by its trainings with fresh seeds. FLOPs are per token, with the difference from the
    reference. --csv and --json print all digits, and the scores of the controls.

    --operators lists the gains of each operator's children over their parents.

    If RUN is a folder of runs, lists the runs, each with its best child.
    """
    from genesys_engine.engine.views.runs import holds_runs

    if holds_runs(run):
        _print_runs(run, layout, as_json=as_json)
    elif by_operator:
        _print_operators(run, layout, as_json=as_json)
    else:
        _print_designs(run, limit, layout, as_json=as_json)


# --- designs ---------------------------------------------------------------------------------


def _print_designs(run: Path, limit: int | None, layout: Layout, *, as_json: bool) -> None:
    from genesys_engine.engine.cli.columns import design_columns
    from genesys_engine.engine.cli.tables import note_left_out, print_csv, print_results
    from genesys_engine.engine.common.text import plural
    from genesys_engine.engine.score.fitness import Measure
    from genesys_engine.engine.store.names import design_names
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.engine.views.leaderboard import leaderboard

    with Store.open(run) as store:
        rows = leaderboard(store, limit)
        experiment, names = store.meta("experiment"), design_names(store.designs())
        measure = Measure.of(experiment["fitness"])
        reference = experiment["population"]["reference"]
        remarks = list(_remarks(store, rows, measure, reference))
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    places = {row.design: place for place, row in enumerate(rows, 1)}
    if layout.csv:
        print_csv(design_columns(rows, places, names, measure, reference), rows, layout)
        return
    if not rows:
        note("no design has been verified yet")
        return
    left_out: list[str] = []
    for rung, group in groupby(rows, lambda row: row.rung):
        part = list(group)
        columns = design_columns(part, places, names, measure, reference)
        title = f"Verified up to {rung}: {plural(len(part), 'design')}"
        footer = _bigram(part)
        left_out += print_results(columns, part, layout, title=title, footer=footer)
    for remark in remarks:
        note(remark)
    note_left_out(left_out)


def _bigram(rows: Sequence[LeaderboardRow]) -> dict[str, str]:
    """Return the line of the bigram control: its scores at the rung of `rows`."""
    from genesys_engine.engine.common.text import number

    scores = rows[0].controls.get("bigram", {})
    shown = {metric: number(score.value) for metric, score in scores.items()}
    return {"design": "bigram", **shown} if shown else {}


def _remarks(
    store: Any, rows: Sequence[LeaderboardRow], measure: Measure, reference: str
) -> Iterable[str]:
    """Yield the remarks below the tables."""
    from genesys_engine.engine.common.text import metric_title
    from genesys_engine.engine.score.standing import NO_DIFFERENCE, NOT_MEASURED
    from genesys_engine.engine.views.remarks import all_behind_control, unresolved
    from genesys_engine.engine.views.rungs import rung_agreements

    if any(row.within_noise for row in rows):
        yield f"{NO_DIFFERENCE}: the gain over {reference} is within twice the training noise"
    if any(row.within_noise is None for row in rows):
        yield f"{NOT_MEASURED}: {reference} was trained with one seed (noise_seeds = 1)"
    metric = metric_title(str(measure))
    yield f"gains are in {metric}, percent over {reference}"
    if any(row.trainings > 1 for row in rows):
        yield f"the scores of {reference} are means over its training seeds"
    if rows:
        highest = [row for row in rows if row.rung == rows[0].rung]
        yield from all_behind_control(highest)
        yield from unresolved(highest)
    for design, reason in store.disqualified().items():
        yield f"not listed: #{design} is disqualified: {reason}"
    for found in rung_agreements(store):
        if found.warning:
            yield f"warning: {found.warning}"
    if (second := store.meta("confirmation")) is not None:
        yield second["text"]


# --- operators and runs ----------------------------------------------------------------------


def _print_operators(run: Path, layout: Layout, *, as_json: bool) -> None:
    from genesys_engine.engine.cli.columns import OPERATORS
    from genesys_engine.engine.cli.tables import note_left_out, print_csv, print_results
    from genesys_engine.engine.store.names import scale_names
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.engine.views.operators import operators

    with Store.open(run) as store:
        rows, scale = operators(store), scale_names(store)[0]
    if as_json:
        print_json([row.to_json() for row in rows])
    elif layout.csv:
        print_csv(OPERATORS, rows, layout)
    elif not rows:
        note("no operator has produced a child yet")
    else:
        left_out = print_results(OPERATORS, rows, layout)
        note(f"at {scale}, where every child is trained as its parents were")
        note("n: children trained there with a parent trained there too")
        note_left_out(left_out)


def _print_runs(folder: Path, layout: Layout, *, as_json: bool) -> None:
    from genesys_engine.engine.cli.columns import RUNS
    from genesys_engine.engine.cli.tables import note_left_out, print_csv, print_results
    from genesys_engine.engine.views.runs import runs_in

    rows = runs_in(folder)
    if as_json:
        print_json([row.to_json() for row in rows])
    elif layout.csv:
        print_csv(RUNS, rows, layout)
    else:
        note_left_out(print_results(RUNS, rows, layout))
        note(f"the designs of a run: genesys-engine leaderboard {folder / rows[0].folder}")
