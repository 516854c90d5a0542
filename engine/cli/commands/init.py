"""`genesys-engine init [PATH]`."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import answer
from genesys_engine.gab.errors import InputError


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path("experiment.toml"))
def command(path: Path) -> int:
    """Write a commented experiment to PATH (experiment.toml).

    Never overwrites a file.
    """
    from genesys_engine.engine.config.template import template

    if path.is_dir():
        path = path / "experiment.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        raise InputError(
            "already exists and was not changed", where=str(path), hint="choose another name"
        ) from None
    except FileNotFoundError:
        raise InputError(
            "the folder does not exist", where=str(path.parent), hint="create it first"
        ) from None
    answer(f"{path} written; try: genesys-engine plan {path}")
    return 0
