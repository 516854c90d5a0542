"""`genesys-engine show RUN DESIGN`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import clean, json_option, print_json, print_table
from genesys_engine.engine.cli.run_folder import run_argument

if TYPE_CHECKING:
    from genesys_engine.engine.views.details import DesignDetails


@click.command("show")
@run_argument
@click.argument("design", type=click.IntRange(min=0))
@click.option("--code", is_flag=True, help="Print the composed module instead.")
@json_option
def command(run: Path, design: int, code: bool, as_json: bool) -> None:
    """Show one DESIGN of RUN: what was changed, its lineage, tree, scores and findings."""
    from genesys_engine.engine.store import Store
    from genesys_engine.engine.views.details import composed_source, design_details

    with Store.open(run) as store:
        source = composed_source(store, design) if code else ""
        details = None if code and not as_json else design_details(store, design)
    if details is None:
        click.echo(clean(source), nl=not source.endswith("\n"))
        return
    if as_json:
        print_json({**details.to_json(), **({"code": source} if code else {})})
        return
    for line in _head(details):
        click.echo(clean(line))
    _scores(details)
    _findings(details)


def _head(details: DesignDetails) -> Iterator[str]:
    from genesys_engine.engine.views.llm import told
    from genesys_engine.engine.views.text import percent

    row = details.row
    state = "accepted" if row.accepted else "rejected by its check"
    yield f"Design {row.id}" + (f" ({details.name})" if details.name else "") + f": {state}"
    yield f"  {row.change}  [{row.operator}]"
    if row.fitness is not None:
        yield f"  gain {percent(row.fitness)} up to {details.rung} ({details.standing})"
    for role, used in details.llm.items():
        yield f"  {role}: {told(used)}"
    yield f"  children: {', '.join(map(str, details.children)) or 'none'}"
    yield ""
    yield "Lineage"
    for step in (*details.ancestors, row):
        others = f" (with {', '.join(map(str, step.parents[1:]))})" if step.parents[1:] else ""
        yield f"  {step.id:>5}  {step.change}{others}"
    yield ""
    yield "Tree"
    yield from (f"  {line}" for line in details.tree.splitlines())
    yield ""


def _scores(details: DesignDetails) -> None:
    from genesys_engine.engine.views.text import number, percent

    rows: list[list[object]] = []
    for verification in details.verifications:
        scale = details.scales[verification.rung]
        head = [scale, verification.replicate, percent(verification.fitness)]
        if verification.status != "ok":
            rows.append([*head, f"failed: {verification.reason}", "", "", ""])
        for metric, score in verification.scores.items():
            controls = [
                number(verification.controls.get(name, {}).get(metric, {}).get("value"))
                for name in ("untrained", "bigram")
            ]
            stderr = "" if score["stderr"] is None else f" ±{score['stderr']:.2g}"
            rows.append([*head, metric, number(score["value"]) + stderr, *controls])
            head = ["", "", ""]
    if rows:
        columns = ("rung", "seed", "gain", "metric", "score", "untrained", "bigram")
        print_table(columns, rows, title="Scores beside their controls")


def _findings(details: DesignDetails) -> None:
    if details.findings:
        keys = ("severity", "code", "unit", "line", "message", "advice")
        rows = [[finding.get(key) for key in keys] for finding in details.findings]
        print_table(keys, rows, title="Findings of the check")
