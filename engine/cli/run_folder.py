"""The folder of a run on the command line, and the note after an interruption."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli import completing

run_argument = click.argument(
    "run", type=click.Path(path_type=Path), shell_complete=completing.runs
)
design_argument = click.argument("design", shell_complete=completing.designs)


def note_how_to_resume(interrupt: KeyboardInterrupt, folder: Path | None) -> None:
    """Add a note to an interruption: whether `folder` holds a run, and how to resume it."""
    if getattr(interrupt, "__notes__", None):  # already noted where more is known
        return
    if folder is not None and (folder / "run.sqlite").exists():
        interrupt.add_note(f"nothing is lost; resume with: genesys-engine resume {folder}")
    else:
        interrupt.add_note(
            "interrupted before the run started: nothing to resume; the prepared part of the"
            " corpus is kept, and the same command starts again"
        )
