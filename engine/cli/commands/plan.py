"""`genesys-engine plan EXPERIMENT`: its cost, measured before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genesys_engine.engine.cli.output import (
    answer,
    json_option,
    note,
    print_json,
    print_table,
    set_option,
    wrapped,
)

if TYPE_CHECKING:
    from genesys_engine.engine.run.plan import Plan


@click.command("plan")
@click.argument("experiment", type=click.Path(path_type=Path))
@set_option
@json_option
def command(experiment: Path, sets: tuple[str, ...], as_json: bool) -> None:
    """Time a few training steps of every seed and estimate what EXPERIMENT costs.

    Prepares the corpus if it is not cached; the measurement takes about half a minute.
    """
    from genesys_engine.engine.api.experiment import Experiment
    from genesys_engine.engine.api.session import plan
    from genesys_engine.engine.common.text import duration

    chosen = Experiment.from_toml(experiment, sets)
    found, timeout_s = plan(chosen, on_message=note), chosen.config.executor.timeout_s
    if slow := found.too_slow(timeout_s):
        note(
            f"warning: verifications at {', '.join(slow)} may take longer than executor.timeout_s"
            f" = {timeout_s:g} and be killed: raise it, or lower `tokens`"
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
    print_table(columns, rows, title="If every budget is used up")
    answer(f"checks: {duration(found.checks_s)}; everything: about {duration(found.seconds)}")
    answer(wrapped(_uncertainty(found)))
    if found.llm is not None:
        answer(wrapped(_language_models(found.llm)))


def _uncertainty(found: Plan) -> str:
    """Return the uncertainty of the estimate, and its basis."""
    from genesys_engine.engine.common.text import duration
    from genesys_engine.engine.run.plan import STEPS

    how = (
        f"measured over {STEPS} steps each in {duration(found.measured_s)}, on this machine as it"
        " is loaded now"
    )
    left_out = ", ".join(found.not_measured)
    if len(found.relative_speed) == 1:
        why = f" ({left_out} not measured, to keep this short)" if left_out else ""
        return (
            f"for children as fast as {', '.join(found.relative_speed)}: how much others differ is"
            f" unknown{why}; {how}"
        )
    speeds = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.relative_speed.items())
    more = f"; not measured, to keep this short: {left_out}" if left_out else ""
    return (
        f"between {duration(found.shortest_s)} and {duration(found.longest_s)}, as children are"
        " like the fastest or the slowest seed (speed against the reference:"
        f" {speeds}{more}); {how}"
    )


def _language_models(llm: Mapping[str, Any]) -> str:
    """Return the possible cost of the language models, in a line or two."""
    prices = {entry["model"]: entry["usd_per_million"] for entry in llm["roles"].values()}
    parts = []
    for model, usd in prices.items():
        price = "unknown" if usd is None else f"{usd[0]:g} in, {usd[1]:g} out"
        parts.append(f"{model}: USD per million tokens {price}")
    caps = [f"{llm['cap_tokens']:,} tokens" if llm["cap_tokens"] else ""]
    caps.append(f"{llm['cap_usd']:g} USD" if llm["cap_usd"] else "")
    capped = " and ".join(filter(None, caps))
    end = f"at most {capped}" if capped else "no cap: set budget.llm_tokens or budget.llm_usd"
    return f"language models: {end}; {'; '.join(parts)}"
