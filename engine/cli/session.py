"""What `run` and `resume` share: progress while it goes, the report and the last line after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from genesys_engine.engine.api.session import exit_code
from genesys_engine.engine.cli.output import note, print_json
from genesys_engine.engine.cli.progress.display import Display
from genesys_engine.engine.cli.progress.live import Progress
from genesys_engine.engine.common.interrupt import interruptible
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.run import lifecycle
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_OK


def session(work: Callable[[lifecycle.Callbacks], str], folder: Path, *, as_json: bool) -> int:
    """Do `work`, which returns why it stopped early, with progress and Ctrl-C handled.

    Returns the exit code.
    """
    progress = Progress()
    with progress, interruptible(progress.say) as asked:
        reason = work(lifecycle.Callbacks(progress.on_event, progress.on_past, asked, progress.say))
    if reason:
        return _stopped(folder, reason)
    try:
        return _finished(folder, as_json=as_json)
    except Exception as error:
        error.add_note(f"the run is finished; its report: genesys-engine report {folder}")
        raise


def until_stopped(display: Display, work: Callable[[Callable[[], str | None]], None]) -> str:
    """Do `work` while `display` shows it; return the reason why it stopped early, "" for none.

    Args:
        work: gets what tells whether Ctrl-C, SIGTERM or SIGHUP have asked it to stop.
    """
    with display, interruptible(display.say) as asked:
        try:
            work(asked)
        except Stopped as stopped:
            return str(stopped)
    return ""


def stopped_note(folder: Path, reason: str, more: str = "") -> int:
    """Say how what stopped early is resumed; return the exit code."""
    note(f"stopped ({reason}); nothing is lost. Resume with: genesys-engine resume {folder}{more}")
    return exit_code(reason)


def _stopped(folder: Path, reason: str) -> int:
    more = f" --set {reason}=MORE" if reason.startswith("budget.") else ""
    return stopped_note(folder, reason, more)


def _finished(folder: Path, *, as_json: bool) -> int:
    from genesys_engine.engine.report import write_report
    from genesys_engine.engine.views.verdict import verdict_view

    with Store.open(folder) as store:
        report, found = write_report(store, say=note), verdict_view(store)
        second = store.meta("confirmation")
        best = found.verdict.best
    code = EXIT_OK if found.child is not None else EXIT_GOAL_NOT_MET
    if as_json:
        print_json({"run": str(folder), "report": str(report), **found.record.to_json()})
        return code
    if second is not None:
        note(second["text"])
    for line in found.lines:
        note(line)
    place = f"`genesys-engine show {folder} {best}`"
    note(f"Best design: {best}, see {place}; report: {report}")
    return code
