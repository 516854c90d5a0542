"""`genesys-engine recover RUN`: bring a run back whose database is damaged."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.run_folder import run_argument


@click.command("recover")
@run_argument
def command(run: Path) -> int:
    """Bring RUN back from the backup that lies in its folder.

    A run copies its database every few minutes and at its end. What was done since the copy is
    done again by `genesys-engine resume`. The damaged database is kept under another name. Where
    there is no backup, the designs that can still be read are saved as trees in RUN/recovered; an
    experiment takes them as population.seeds.
    """
    from genesys_engine.engine.cli.output import note
    from genesys_engine.engine.common.text import plural
    from genesys_engine.engine.store.recovery import recover
    from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_OK

    found = recover(run)
    if found.whole:
        note(f"{run} is whole: nothing to do")
        return EXIT_OK
    if found.backup is not None:
        note(f"the backup is put back: {found.backup}")
        note(f"go on with: genesys-engine resume {run}, or genesys-engine leaderboard {run}")
        return EXIT_OK
    if found.saved:
        note(f"no backup; saved {plural(len(found.saved), 'design')} in {found.saved[0].parent}")
        note("start another run with them: population.seeds takes these files")
    else:
        note("no backup, and no design can be read")
    return EXIT_GOAL_NOT_MET
