"""`genesys-engine resume RUN`: take up a run where it was left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import json_option, set_option
from genesys_engine.engine.cli.run_folder import tell_what_is_left

if TYPE_CHECKING:
    from genesys_engine.engine.compare.callbacks import Callbacks


@click.command("resume")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@set_option
@json_option
def command(run_folder: Path, sets: tuple[str, ...], as_json: bool) -> int:
    """Go on with RUN, a run or a study, after an interruption, a crash or a cap of its budget.

    Nothing that was paid for is done again. --set may change what decides nothing: run.workers,
    run.designers, executor.* and the caps of budget beside the designs; in an implementation study
    also those of compare. It holds for later resumptions too.

    A run, also a finished one, can be extended: --set budget.designs=MORE,
    ladder.rungs.0.verifications=MORE, ladder.finalists=MORE, or a further rung
    (ladder.rungs.1.scale=1M, ladder.rungs.1.verifications=8, where there was one).
    """
    from genesys_engine.engine.cli.session import session
    from genesys_engine.engine.compare.store import StudyStore
    from genesys_engine.engine.run import lifecycle

    if StudyStore.exists(run_folder):
        return _resume_study(run_folder, sets, as_json=as_json)

    def work(callbacks: lifecycle.Callbacks) -> None:
        lifecycle.resume(run_folder, sets, callbacks)

    try:
        return session(work, run_folder, as_json=as_json)
    except KeyboardInterrupt as interrupt:
        tell_what_is_left(interrupt, run_folder)
        raise


def _resume_study(folder: Path, sets: tuple[str, ...], *, as_json: bool) -> int:
    from genesys_engine.engine.cli.commands.compare import study_session
    from genesys_engine.engine.compare import session

    def work(callbacks: Callbacks) -> None:
        session.resume(folder, sets, callbacks)

    return study_session(work, folder, as_json=as_json)
