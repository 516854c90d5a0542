"""`genesys-engine plan EXPERIMENT`: what it will cost, measured before it starts."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import json_option, note, print_json, print_table, set_option


@click.command("plan")
@click.argument("experiment", type=click.Path(path_type=Path))
@set_option
@json_option
def command(experiment: Path, sets: tuple[str, ...], as_json: bool) -> None:
    """Measure a few training steps of every seed and say what EXPERIMENT will cost.

    Prepares the corpus if it is not cached; takes some seconds per seed and rung.
    """
    from genesys_engine.engine import run
    from genesys_engine.engine.plan import plan

    host, loaded = run.load(experiment, sets)
    found = plan(loaded, host, note)
    if slow := found.too_slow(loaded.executor.timeout_s):
        note(
            f"warning: verifications at {', '.join(slow)} may take longer than executor.timeout_s"
            f" = {loaded.executor.timeout_s:g} and be killed: raise it, or lower `tokens`"
        )
    if as_json:
        print_json(found.to_json())
        return
    rows = [
        (
            *(r.scale, r.verifications, f"{r.tokens_each:,}", f"{r.tokens:,}"),
            *(f"{r.seconds_each:.1f} s", f"{r.seconds:.0f} s"),
        )
        for r in found.rungs
    ]
    columns = ("rung", "verifications", "tokens each", "tokens", "time each", "time")
    print_table(columns, rows, title="If every budget is used in full")
    speeds = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.relative_speed.items())
    click.echo(f"checks: {found.checks_s:.0f} s; everything: about {found.seconds:.0f} s")
    click.echo(f"speed of the seeds against the reference: {speeds}")
