"""`genesys-engine resume RUN`: continue a run from where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli import completing
from genesys_engine.engine.cli.output import json_option, set_option
from genesys_engine.engine.cli.run_folder import note_how_to_resume

if TYPE_CHECKING:
    from genesys_engine.engine.compare.observer import StudyObserver


@click.command("resume")
@click.argument(
    "run_folder",
    metavar="RUN",
    type=click.Path(path_type=Path),
    shell_complete=completing.runs,
)
@set_option
@json_option
def command(run_folder: Path, sets: tuple[str, ...], as_json: bool) -> int:
    """Resume RUN, a run or a study, after an interruption, a crash or a budget cap.

    Finished work is never repeated. --set may change settings that do not affect results:
    run.workers, run.designers, executor.* and the caps of budget other than designs; in an
    implementation study also the caps of compare. Changes persist when RUN is resumed again.

    A run, even a finished one, can be extended: --set budget.designs=MORE,
    ladder.rungs.0.verifications=MORE, ladder.finalists=MORE, or another rung
    (ladder.rungs.1.scale=1M, ladder.rungs.1.verifications=8, in a run with one rung).
    """
    from genesys_engine.engine.api.session import resume_run
    from genesys_engine.engine.cli.session import session
    from genesys_engine.engine.compare.store import StudyStore

    if StudyStore.exists(run_folder):
        return _resume_study(run_folder, sets, as_json=as_json)

    try:
        return session(
            lambda callbacks: resume_run(run_folder, sets, callbacks), run_folder, as_json=as_json
        )
    except KeyboardInterrupt as interrupt:
        note_how_to_resume(interrupt, run_folder)
        raise


def _resume_study(folder: Path, sets: tuple[str, ...], *, as_json: bool) -> int:
    from genesys_engine.engine.cli.commands.compare import study_session
    from genesys_engine.engine.compare import session

    def work(observer: StudyObserver) -> None:
        session.resume(folder, sets, observer)

    return study_session(work, folder, as_json=as_json)
