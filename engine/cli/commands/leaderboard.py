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
@json_option
def command(run: Path, limit: int | None, as_json: bool) -> None:
    """List the verified designs of RUN: highest rung first, then best gain.

    The gain is in percent over the reference design. Below each score stand the same model
    untrained and a bigram model. `~` marks a gain that training noise alone may give.
    """
    from genesys_engine.engine.store import Store
    from genesys_engine.engine.views.leaderboard import leaderboard, metric_names

    with Store.open(run) as store:
        rows = leaderboard(store, limit)
        reference = store.meta("experiment")["population"]["reference"]
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    if not rows:
        note("no design has been verified yet")
        return
    metrics = metric_names(rows)
    asked = any(row.llm is not None for row in rows)
    llm = ("LLM tokens", "LLM cost") if asked else ()
    print_table(
        ("#", "design", f"gain over {reference}", "rung", *metrics, *llm, "parents", "change"),
        [_cells(place, row, metrics, asked=asked) for place, row in enumerate(rows, 1)],
    )
    if any(row.within_noise for row in rows):
        note(f"~ not distinguishable from {reference}: within twice the noise of training")
    if any(row.within_noise is None for row in rows):
        note(f"? noise not known: {reference} was trained with one seed (noise_seeds = 1)")
    note("in brackets: the same model untrained, and a bigram model")


def _cells(place: int, row: LeaderboardRow, metrics: list[str], *, asked: bool) -> list[object]:
    from genesys_engine.engine.views.llm import usd
    from genesys_engine.engine.views.noise import NOISE_UNKNOWN, WITHIN_NOISE
    from genesys_engine.engine.views.text import percent

    mark = {WITHIN_NOISE: " ~", NOISE_UNKNOWN: " ?"}.get(row.standing, "")
    scores = [_score(row, metric) for metric in metrics]
    if asked:
        scores += ["–", "–"] if row.llm is None else [f"{row.llm.tokens:,}", usd(row.llm.usd)]
    parents = ", ".join(map(str, row.parents))
    name = f"{row.design} {row.name}" if row.name else row.design
    return [place, name, percent(row.fitness) + mark, row.rung, *scores, parents, row.change]


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
