"""The folder of a run on the command line, and what an interruption has left in it."""

from __future__ import annotations

from pathlib import Path

import click

run_argument = click.argument("run", type=click.Path(path_type=Path))


def tell_what_is_left(interrupt: KeyboardInterrupt, folder: Path | None) -> None:
    """Note on an interruption whether a run was begun in `folder`, and how to go on."""
    if getattr(interrupt, "__notes__", None):  # said where it was known better
        return
    if folder is not None and (folder / "run.sqlite").exists():
        interrupt.add_note(f"nothing is lost; go on with: genesys-engine resume {folder}")
    else:
        interrupt.add_note(
            "nothing was begun: there is no run to resume; what was prepared of the corpus is kept,"
            " the same command starts again"
        )
