"""`genesys-engine resume RUN`: take up a run where it was left."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import json_option, set_option


@click.command("resume")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@set_option
@json_option
def command(run_folder: Path, sets: tuple[str, ...], as_json: bool) -> int:
    """Go on with RUN, a run or a study, after an interruption, a crash or a cap of its budget.

    Nothing that was paid for is done again. --set may change what decides nothing: run.workers,
    run.designers, executor.* and the caps of budget beside the designs; in an implementation study
    also those of compare. It holds for later resumptions too.
    """
    from genesys_engine.engine import run
    from genesys_engine.engine.cli.session import session
    from genesys_engine.engine.compare.store import StudyStore

    if StudyStore.exists(run_folder):
        return _resume_study(run_folder, sets, as_json=as_json)

    def work(callbacks: run.Callbacks) -> None:
        run.resume(run_folder, sets, callbacks)

    return session(work, run_folder, as_json=as_json)


def _resume_study(folder: Path, sets: tuple[str, ...], *, as_json: bool) -> int:
    from genesys_engine.engine.cli.commands.compare import study_session
    from genesys_engine.engine.compare import session

    def work(callbacks: session.Callbacks) -> None:
        session.resume(folder, sets, callbacks)

    return study_session(work, folder, as_json=as_json)
