"""`genesys-engine recover RUN`: restore a run with a damaged database."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.run_folder import run_argument


@click.command("recover")
@run_argument
def command(run: Path) -> int:
    """Restore RUN from the backup in its folder.

    A run backs up its database every few minutes and when it ends. `genesys-engine resume` repeats
    the work done since the backup. The damaged database is kept under another name. Without a
    backup, all designs that are still readable are saved as trees in RUN/recovered; a new
    experiment can list them in population.seeds.
    """
    from genesys_engine.engine.cli.output import note
    from genesys_engine.engine.common.text import plural
    from genesys_engine.engine.store.recovery import recover
    from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_OK

    found = recover(run)
    if found.whole:
        note(f"{run} is undamaged: nothing to do")
        return EXIT_OK
    if found.backup is not None:
        note(f"restored the backup: {found.backup}")
        note(f"resume it: genesys-engine resume {run}, or genesys-engine leaderboard {run}")
        return EXIT_OK
    if found.saved:
        note(f"no backup; saved {plural(len(found.saved), 'design')} in {found.saved[0].parent}")
        note("start a new run from them: list these files in population.seeds")
    else:
        note("no backup, and no design is readable")
    return EXIT_GOAL_NOT_MET
