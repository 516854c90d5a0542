"""`genesys-engine status RUN`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import answer, json_option, print_json, print_table, wrapped
from genesys_engine.engine.cli.run_folder import run_argument

if TYPE_CHECKING:
    from genesys_engine.engine.common.budget import Spending
    from genesys_engine.engine.views.status import DesignCounts, Status, Training


@click.command("status")
@run_argument
@json_option
def command(run: Path, as_json: bool) -> None:
    """Show the progress of RUN: counts, budgets, best design so far, time left.

    For a study: its tables so far.
    """
    from genesys_engine.engine.compare.store import StudyStore
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.engine.views.status import status

    if StudyStore.exists(run):
        from genesys_engine.engine.cli.commands.compare import show

        show(run, as_json=as_json)
        return
    with Store.open(run) as store:
        found = status(store, now=time.time())
    if as_json:
        print_json(found.to_json())
        return
    for name, value in _lines(found, run):
        # A command stays on its line, to be copied.
        text = value if "genesys-engine " in value else wrapped(value, 13)
        answer(f"{name:<12} {text}")
    print_table(
        ("rung", "planned", "finished", "failed", "under way"),
        [(r.scale, r.planned, r.finished, r.failed, r.under_way) for r in found.rungs],
    )
    print_table(("budget", "used", "cap"), [_budget(row) for row in found.budgets])


def _lines(found: Status, run: Path) -> Iterator[tuple[str, str]]:
    from genesys_engine.engine.common.text import duration, percent, plural

    designs, best, left = found.designs, found.best, found.remaining_s
    reason = f" ({found.reason})" if found.reason else ""
    yield "run", found.name
    yield "state", found.state + reason
    if found.state == "killed":
        yield "", f"its process died; resume with: genesys-engine resume {run}"
    yield "designs", _made(designs)
    if best is not None:
        name = best.name or f"#{best.design}"
        yield "best so far", f"{name}, mean gain {percent(best.fitness)} up to {best.rung}"
    yield "time", duration(found.elapsed_s)
    if found.state == "running" and left is not None:
        yield "time left", f"about {duration(left)}"
    if found.state == "running":
        for node, slots in found.nodes.items():
            yield "node", f"{node}: {plural(slots, 'job')} at a time"
        for task in found.training:
            if task.tokens and task.loss is not None:
                yield "training", _trial(task, task.tokens, task.loss)
            elif task.node:
                yield "running", f"{task.name} at {task.rung}{_where(task)}"
    yield from _llm_lines(found)
    if found.finals is not None:
        yield from _under("finals", found.finals.sentences)
    yield from (("budget", warning) for warning in found.warnings)
    if found.verdict is not None:
        head = "verdict" if found.state == "finished" else "so far"
        yield from _under(head, found.verdict.sentences)


def _under(head: str, sentences: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield sentences, the first of them with the head."""
    yield from zip((head, *[""] * len(sentences)), sentences, strict=False)


def _made(designs: DesignCounts) -> str:
    """Return the designs by outcome in one line, without zero counts."""
    from genesys_engine.engine.common.text import plural

    parts = [plural(designs.seeds, "seed"), plural(designs.children, "child", "children")]
    parts += [f"{designs.rejected} rejected"] if designs.rejected else []
    parts += [f"{designs.disqualified} disqualified"] if designs.disqualified else []
    parts += [plural(designs.duplicates, "duplicate")] if designs.duplicates else []
    if designs.exhausted:
        parts.append(f"{plural(designs.exhausted, 'try', 'tries')} without a new design")
    parts += [f"{designs.abandoned} abandoned"] if designs.abandoned else []
    return ", ".join(parts)


def _trial(task: Training, tokens: int, loss: float) -> str:
    """Return the progress of a trial in one line."""
    from genesys_engine.engine.common.text import count, duration, number

    share = f"{100 * tokens / task.of:.0f} % of {count(task.of)} tokens"
    so_far = f"loss {number(loss)} nats per token, {duration(task.seconds)} so far"
    return f"{task.name} at {task.rung}{_where(task)}: {share}, {so_far}"


def _where(task: Training) -> str:
    """Return on which node a trial runs, and for how long."""
    from genesys_engine.engine.common.text import duration

    return f" on {task.node} for {duration(task.node_s or 0.0)}" if task.node else ""


def _llm_lines(found: Status) -> Iterator[tuple[str, str]]:
    """Yield the use of language models, if any."""
    from genesys_engine.engine.common.text import duration
    from genesys_engine.engine.views.llm import usage_text

    llm = found.llm
    for role, used in (*llm.roles.items(), ("llm", llm.total)):
        if llm.roles:
            yield role, usage_text(used)
    if found.state == "running":
        for task in found.making:
            if task.llm.calls:
                yield "being made", f"{usage_text(task.llm)} in {duration(task.seconds)} so far"
    if llm.abandoned:
        yield "given up", ", ".join(f"{code} ×{n}" for code, n in llm.abandoned.items())
    if found.llm_unreachable:
        yield "llm unavailable", found.llm_unreachable


def _budget(row: Spending) -> tuple[str, str, str]:
    from genesys_engine.engine.common.text import amount

    cap = "none" if row.cap is None else amount(row.cap)
    used = "unknown" if row.used is None else amount(row.used)
    return row.budget, used, cap
