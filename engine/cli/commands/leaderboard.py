"""`genesys-engine leaderboard RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import json_option, note, print_json, print_table
from genesys_engine.engine.cli.run_folder import run_argument

if TYPE_CHECKING:
    from genesys_engine.engine.views.leaderboard import LeaderboardRow


@click.command("leaderboard")
@run_argument
@click.option("--limit", type=click.IntRange(min=1), help="Only so many designs.")
@click.option("--operators", "by_operator", is_flag=True, help="The operators instead.")
@json_option
def command(run: Path, limit: int | None, by_operator: bool, as_json: bool) -> None:
    """List the verified designs of RUN: highest rung first, then best gain.

    The gain is in percent over the reference design. Behind each score stand the same model
    untrained and a bigram model. Within twice the noise of training no difference is shown; a
    finalist is judged by its trainings with fresh seeds alone.

    --operators lists what the children of each operator gained over their parents.
    """
    if by_operator:
        _print_operators(run, as_json=as_json)
        return
    from genesys_engine.engine.fitness import said
    from genesys_engine.engine.store import Store
    from genesys_engine.engine.views.leaderboard import leaderboard, metric_names
    from genesys_engine.engine.views.rungs import rung_agreements

    with Store.open(run) as store:
        rows = leaderboard(store, limit)
        warnings = [found.warning for found in rung_agreements(store) if found.warning]
        reference = store.meta("experiment")["population"]["reference"]
        fitness = store.meta("experiment")["fitness"]
        second = store.meta("confirmation")
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    if not rows:
        note("no design has been verified yet")
        return
    metrics, finals = metric_names(rows), any(row.fresh for row in rows)
    asked = any(row.llm is not None for row in rows)
    against = (f"gain over {reference}", *(("fresh seeds",) if finals else ()), "verdict")
    llm = ("LLM tokens", "LLM cost") if asked else ()
    print_table(
        ("#", "design", *against, "rung", *metrics, *llm, "parents", "change"),
        [
            _cells(place, row, metrics, finals=finals, asked=asked)
            for place, row in enumerate(rows, 1)
        ],
    )
    if any(row.within_noise for row in rows):
        note(f"no difference shown from {reference}: the noise of training may give as much")
    if any(row.within_noise is None for row in rows):
        note(f"noise not measured: {reference} was trained with one seed (noise_seeds = 1)")
    if (told := said(fitness)) != "bits_per_byte":
        note(f"the gain is in {told}")
    note("in brackets: the same model untrained, and a bigram model")
    for warning in warnings:
        note(f"warning: {warning}")
    if second is not None:
        note(second["text"])


def _print_operators(run: Path, *, as_json: bool) -> None:
    from genesys_engine.engine.store import Store
    from genesys_engine.engine.views.leaderboard import scale_names
    from genesys_engine.engine.views.operators import operators
    from genesys_engine.engine.views.text import percent

    with Store.open(run) as store:
        rows, scale = operators(store), scale_names(store)[0]
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    counted = ("operator", "children", "accepted", "compared")
    print_table(
        (*counted, "gain over the parent", "95 % interval", "verdict"),
        [
            (
                *(row.operator, row.proposed, row.accepted, row.compared, percent(row.gain)),
                "–" if row.low is None else f"{percent(row.low)} to {percent(row.high)}",
                row.verdict,
            )
            for row in rows
        ],
    )
    note(f"at {scale}, where every child is trained like its parents")


def _cells(
    place: int, row: LeaderboardRow, metrics: list[str], *, finals: bool, asked: bool
) -> list[object]:
    from genesys_engine.engine.views.llm import usd
    from genesys_engine.engine.views.noise import SAID
    from genesys_engine.engine.views.text import percent, shortened

    scores = [_score(row, metric) for metric in metrics]
    if asked:
        scores += ["–", "–"] if row.llm is None else [f"{row.llm.tokens:,}", usd(row.llm.usd)]
    parents = ", ".join(map(str, row.parents))
    name = f"{row.design} {row.name}" if row.name else row.design
    against = [percent(row.fitness), *([_fresh(row)] if finals else []), SAID[row.standing]]
    return [place, name, *against, row.rung, *scores, parents, shortened(row.change, 80)]


def _fresh(row: LeaderboardRow) -> str:
    """Return the gain of a finalist with fresh seeds and its interval."""
    from genesys_engine.engine.views.text import percent

    if row.fresh is None:
        return "–"
    mean, low, high = (row.fresh[key] for key in ("mean", "low", "high"))
    return percent(mean) + ("" if low is None else f" ({percent(low)} to {percent(high)})")


def _score(row: LeaderboardRow, metric: str) -> str:
    from genesys_engine.engine.views.text import number

    if metric not in row.scores:
        return "–"
    controls = [
        number(row.controls[name][metric]["value"])
        for name in ("untrained", "bigram")
        if metric in row.controls.get(name, {})
    ]
    beside = f" ({', '.join(controls)})" if controls else ""
    return number(row.scores[metric]["value"]) + beside
