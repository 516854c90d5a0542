"""`genesys-engine show RUN DESIGN`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import answer, json_option, print_json, print_table, wrapped
from genesys_engine.engine.cli.run_folder import design_argument, run_argument

if TYPE_CHECKING:
    from genesys_engine.engine.views.details import DesignDetails


@click.command("show")
@run_argument
@design_argument
@click.option("--code", is_flag=True, help="Print the composed module.")
@json_option
def command(run: Path, design: str, code: bool, as_json: bool) -> None:
    """Show one DESIGN of RUN: its change, lineage, tree, scores, cost and findings.

    DESIGN is a number or the name of a seed.
    """
    from genesys_engine.engine.store.names import find_design
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.engine.views.details import composed_source, design_details

    with Store.open(run) as store:
        number = find_design(store, design)
        source = composed_source(store, number) if code else ""
        details = None if code and not as_json else design_details(store, number)
    if details is None:
        answer(source, nl=not source.endswith("\n"))
        return
    if as_json:
        print_json({**details.to_json(), **({"code": source} if code else {})})
        return
    for line in _head(details):
        answer(line)
    _scores(details)
    _costs(details)
    _findings(details)


def _head(details: DesignDetails) -> Iterator[str]:
    from genesys_engine.engine.common.text import percent
    from genesys_engine.engine.score.standing import outcome
    from genesys_engine.engine.views.llm import usage_text

    row = details.row
    state = "accepted" if row.accepted else "rejected by its check"
    state = f"disqualified: {details.disqualified}" if details.disqualified else state
    named = f" ({details.name})" if details.name else ""
    yield wrapped(f"Design {row.id}{named}: {state}", 2)
    yield f"  {wrapped(f'{row.change}  [{row.operator}]', 2)}"
    if row.fitness is not None:
        relation = outcome(details.standing or "", details.reference)
        mean = "mean gain" if len(details.places) > 1 else "gain"
        yield f"  {mean} {percent(row.fitness)} up to {details.rung}: {relation}"
        ranked = ", ".join(f"{place} of {n} at {scale}" for scale, place, n in details.places)
        yield f"  place by gain: {ranked}"
    for remark in details.remarks:
        yield f"  {wrapped(remark, 2)}"
    for role, used in details.llm.items():
        yield f"  {role}: {usage_text(used)}"
    yield f"  children: {', '.join(map(str, details.children)) or 'none'}"
    yield ""
    yield "Lineage"
    for step in (*details.ancestors, row):
        others = f" (with {', '.join(map(str, step.parents[1:]))})" if step.parents[1:] else ""
        yield f"  {step.id:>5}  {wrapped(step.change + others, 9)}"
    yield ""
    yield "Tree"
    yield from (f"  {line}" for line in details.tree.splitlines())
    yield ""


def _scores(details: DesignDetails) -> None:
    from genesys_engine.engine.common.text import number, percent, rough
    from genesys_engine.engine.jobs.scores import value_of

    rows: list[list[object]] = []
    for verification in details.verifications:
        scale = details.scales[verification.rung]
        head = [scale, _seed(verification.replicate), percent(verification.fitness)]
        if verification.status != "ok":
            rows.append([*head, f"failed: {verification.reason}", "", "", ""])
        for metric, score in verification.scores.items():
            controls = [
                number(value_of(verification.controls, name, metric))
                for name in ("untrained", "bigram")
            ]
            stderr = "" if score.stderr is None else f" ±{rough(score.stderr)}"
            rows.append([*head, metric, number(score.value) + stderr, *controls])
            head = ["", "", ""]
    if rows:
        columns = ("rung", "seed", "gain", "metric", "score", "untrained", "bigram")
        print_table(columns, rows, title="Scores next to their controls")


def _costs(details: DesignDetails) -> None:
    """Print the cost of the design at each rung where it was trained."""
    from genesys_engine.engine.common.text import count, signed

    rows = [
        (
            *(cost.rung, "–" if cost.parameters is None else count(cost.parameters)),
            "–" if cost.flops is None else count(cost.flops),
            "–" if cost.compute is None else f"{signed(cost.compute, 0)} %",
            *(count(cost.tokens), "–" if cost.train_s is None else f"{cost.train_s:.1f} s"),
        )
        for cost in details.costs
    ]
    if rows:
        over = f"over {details.reference}"
        columns = ("rung", "parameters", "FLOPs per token", over, "tokens", "training")
        print_table(columns, rows, title="Cost")


def _seed(replicate: int) -> str:
    from genesys_engine.engine.store.replicates import FRESH, is_fresh

    return f"fresh {replicate - FRESH + 1}" if is_fresh(replicate) else str(replicate)


def _findings(details: DesignDetails) -> None:
    from genesys_engine.gab.checks.trace import in_lines

    if details.report.findings:
        keys = ("severity", "code", "unit", "line", "message", "advice")
        rows = [[getattr(found, key) for key in keys] for found in details.report.findings]
        print_table(keys, rows, title="Findings of the check")
    for found in details.report.findings:
        for line in in_lines(found.trace) if found.trace else ():
            answer(f"{found.code}: {line}")
