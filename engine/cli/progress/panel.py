"""The run as a panel for a terminal (rich)."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from genesys_engine.engine.common.terminal import styled
from genesys_engine.engine.common.text import duration, percent
from genesys_engine.engine.llm.spending import total
from genesys_engine.engine.views.llm import usage_text
from genesys_engine.engine.views.run import Running, RunView

RUNNING_SHOWN = 6
_BAR_WIDTH = 28


def panel(run: RunView, now: float, message: str = "") -> RenderableType:
    """Return the panel of `run` at the time `now` (epoch seconds)."""
    parts: list[RenderableType] = []
    if run.rungs:
        parts.append(_bars(run))
        parts.append(_facts(run, now))
    if run.changes:
        parts.append(_changes(run))
    if message:
        parts.append(styled(message, style="dim", no_wrap=True, overflow="ellipsis"))
    title = styled(run.name or "genesys-engine")
    subtitle = styled(_time(run, now))
    return Panel(Group(*parts), title=title, subtitle=subtitle, title_align="left",
                 subtitle_align="right", border_style="cyan", padding=(0, 1))  # fmt: skip


def _time(run: RunView, now: float) -> str:
    left = run.remaining_s()
    eta = "" if left is None else f" · about {duration(left)} left"
    return f"{duration(run.elapsed_s(now))}{eta}"


def _bars(run: RunView) -> Table:
    table = Table.grid(padding=(0, 2))
    children = run.accepted - len(run.names)
    made = f"{children}/{run.designs_planned} children, {run.rejected} rejected"
    more = f", {run.duplicates} duplicates" if run.duplicates else ""
    more += f", {run.abandoned} abandoned" if run.abandoned else ""
    table.add_row("designs", _bar(children, run.designs_planned), styled(made + more))
    stages = [(rung.scale, rung) for rung in run.rungs]
    stages += [("finals", run.finals)] if run.finals is not None else []
    for name, rung in stages:
        failed = f", {rung.failed} failed" if rung.failed else ""
        done = styled(f"{rung.done}/{rung.planned}{failed}")
        style = "" if rung.opened or rung.done else "dim"
        table.add_row(styled(name, style=style), _bar(rung.done, rung.planned), done)
    return table


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done, width=_BAR_WIDTH)


def _facts(run: RunView, now: float) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("best", styled(_best(run), style="bold", no_wrap=True, overflow="ellipsis"))
    under_way, queued = run.under_way()
    shown = under_way[:RUNNING_SHOWN]
    more = len(under_way) - len(shown)
    tasks = ", ".join(_task(run, task, now) for task in shown) + (f" +{more}" if more else "")
    tasks += f", {queued} queued" if queued else ""
    table.add_row("now", styled(tasks or "–", no_wrap=True, overflow="ellipsis"))
    if run.causes:
        causes = ", ".join(f"{name} ×{n}" for name, n in run.causes.most_common(3))
        table.add_row("failures", styled(causes, style="yellow", no_wrap=True, overflow="ellipsis"))
    if run.warnings:
        table.add_row("budget", styled(run.warnings[-1], style="yellow"))
    if run.llm:
        used = total(run.llm)
        table.add_row("llm", styled(usage_text(used)))
    if run.llm_out:
        out = f"unreachable, waiting: {run.llm_out}"
        table.add_row("llm", styled(out, style="yellow", no_wrap=True, overflow="ellipsis"))
    if run.workers_lost:
        table.add_row("workers", styled(f"{run.workers_lost} lost and replaced", style="yellow"))
    return table


def _best(run: RunView) -> str:
    if run.best is None:
        return "–"
    scale = run.rungs[run.best.rung].scale
    gain = percent(run.best.fitness)
    return f"{run.label(run.best.design)}  {gain} over {run.reference} at {scale}"


def _task(run: RunView, task: Running, now: float) -> str:
    if task.design is None or task.rung is None:
        what = f"designing {task.seed or 'a child'}"
    else:
        what = f"{run.label(task.design)} at {run.rungs[task.rung].scale}"
    return f"{what} {duration(float(int(max(0.0, now - task.since))))}"


def _changes(run: RunView) -> Table:
    table = Table.grid(padding=(0, 2))
    for design, parents, change in run.changes:
        origin = " + ".join(run.label(parent) for parent in parents)
        words = styled(change, no_wrap=True, overflow="ellipsis")
        table.add_row(styled(f"#{design}", style="cyan"), styled(f"← {origin}", style="dim"), words)
    return table
