"""`genesys-engine plan EXPERIMENT`: what it will cost, measured before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from genesys_engine.engine.cli.output import (
    answer,
    json_option,
    note,
    print_json,
    print_table,
    set_option,
)


@click.command("plan")
@click.argument("experiment", type=click.Path(path_type=Path))
@set_option
@json_option
def command(experiment: Path, sets: tuple[str, ...], as_json: bool) -> None:
    """Measure a few training steps of every seed and say what EXPERIMENT will cost.

    Prepares the corpus if it is not cached; the measuring itself takes about half a minute.
    """
    from genesys_engine.engine.assembly import load
    from genesys_engine.engine.plan import STEPS, plan
    from genesys_engine.engine.views.text import duration

    host, loaded = load(experiment, sets)
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
            *(duration(r.seconds_each), duration(r.seconds)),
        )
        for r in found.rungs
    ]
    columns = ("rung", "verifications", "tokens each", "tokens", "time each", "time")
    print_table(columns, rows, title="If every budget is used in full")
    speeds = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.relative_speed.items())
    answer(f"checks: {duration(found.checks_s)}; everything: about {duration(found.seconds)}")
    answer(
        f"between {duration(found.shortest_s)} and {duration(found.longest_s)}, as children are"
        f" like the fastest or the slowest seed; measured over {STEPS} steps each, in"
        f" {duration(found.measured_s)}, on this machine as it is loaded now"
    )
    if found.llm is not None:
        answer(_language_models(found.llm))
    left_out = ", ".join(found.not_measured)
    more = f"; not measured, to be done sooner: {left_out}" if left_out else ""
    answer(f"speed of the seeds against the reference: {speeds}{more}")


def _language_models(llm: Mapping[str, Any]) -> str:
    """Return what the language models may cost, in a line or two."""
    prices = {entry["model"]: entry["usd_per_million"] for entry in llm["roles"].values()}
    said = []
    for model, usd in prices.items():
        price = "unknown" if usd is None else f"{usd[0]:g} in, {usd[1]:g} out"
        said.append(f"{model}: USD per million tokens {price}")
    caps = [f"{llm['cap_tokens']:,} tokens" if llm["cap_tokens"] else ""]
    caps.append(f"{llm['cap_usd']:g} USD" if llm["cap_usd"] else "")
    capped = " and ".join(filter(None, caps))
    end = f"at most {capped}" if capped else "no cap: set budget.llm_tokens or budget.llm_usd"
    return f"language models: {end}; {'; '.join(said)}"
