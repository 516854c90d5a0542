"""`genesys-engine status RUN`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from genesys_engine.engine.cli.output import clean, json_option, print_json, print_table
from genesys_engine.engine.cli.run_folder import run_argument


@click.command("status")
@run_argument
@json_option
def command(run: Path, as_json: bool) -> None:
    """Show how far RUN is: counts, budgets, the best so far, the time left.

    Of a study: its tables as far as they are filled.
    """
    from genesys_engine.engine.compare.store import StudyStore
    from genesys_engine.engine.store import Store
    from genesys_engine.engine.views.status import status

    if StudyStore.exists(run):
        from genesys_engine.engine.cli.commands.compare import show

        show(run, as_json=as_json)
        return
    with Store.open(run) as store:
        found = status(store, now=time.time())
    if as_json:
        print_json(found)
        return
    for name, value in _lines(found, run):
        click.echo(clean(f"{name:<12} {value}"))
    print_table(
        ("rung", "planned", "finished", "failed", "under way"),
        [list(rung.values()) for rung in found["rungs"]],
    )
    print_table(("budget", "used", "cap"), [_budget(row) for row in found["budgets"]])


def _lines(found: Mapping[str, Any], run: Path) -> Iterator[tuple[str, str]]:
    from genesys_engine.engine.views.text import duration, percent

    designs, best, left = found["designs"], found["best"], found["remaining_s"]
    reason = f" ({found['reason']})" if found["reason"] else ""
    yield "run", str(found["name"])
    yield "state", found["state"] + reason
    if found["state"] == "killed":
        yield "", f"its process ended without a word; go on with: genesys-engine resume {run}"
    made = ["seeds", "children", "rejected", "duplicates", "exhausted"]
    made += ["abandoned"] if designs["abandoned"] else []
    yield "designs", ", ".join(f"{designs[key]} {key}" for key in made)
    if best is not None:
        name = best["name"] or f"design {best['design']}"
        yield "best so far", f"{name}, {percent(best['fitness'])} at {best['rung']}"
    yield "time", duration(found["elapsed_s"])
    if found["state"] == "running" and left is not None:
        yield "time left", f"about {duration(left)}"
    if found["state"] == "running":
        yield from (("training", _trial(task)) for task in found["training"] if task["tokens"])
    yield from _llm_lines(found)
    for warning in found["warnings"]:
        yield "warning", warning
    if found["verdict"] is not None:
        yield "verdict", found["verdict"]["verdict"]


def _trial(task: Mapping[str, Any]) -> str:
    """Return in a line how far a trial is."""
    from genesys_engine.engine.views.text import count, duration, number

    share = f"{task['tokens'] / task['of']:.0%} of {count(task['of'])} tokens"
    loss = f"loss {number(task['loss'])} nats per token"
    return f"{task['name']} at {task['rung']}: {share}, {loss}, {duration(task['seconds'])} so far"


def _llm_lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what language models were used for, where they were."""
    from genesys_engine.engine.views.text import duration

    llm = found["llm"]
    for role, used in (*llm["roles"].items(), ("llm", llm["total"])):
        if llm["roles"]:
            yield role, _used(used)
    if found["state"] == "running":
        for task in found["making"]:
            if task["llm"]["calls"]:
                yield "being made", f"{_used(task['llm'])} in {duration(task['seconds'])} so far"
    if llm["abandoned"]:
        yield "given up", ", ".join(f"{code} ×{n}" for code, n in llm["abandoned"].items())
    if found["llm_unreachable"]:
        yield "llm is out", found["llm_unreachable"]


def _used(usage: Mapping[str, Any]) -> str:
    """Return in a line what was asked, from its JSON data."""
    from genesys_engine.engine.views.llm import told
    from genesys_engine.plugins.api import LLMUsage

    return told(LLMUsage(**{key: value for key, value in usage.items() if key != "tokens"}))


def _budget(row: Mapping[str, Any]) -> tuple[str, str, str]:
    cap = "none" if row["cap"] is None else f"{row['cap']:g}"
    used = "unknown" if row["used"] is None else f"{row['used']:.3g}"
    return row["budget"], used, cap
