"""`genesys-engine init [PATH]`."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.near import NearChoice
from genesys_engine.engine.cli.output import answer
from genesys_engine.engine.config.templates import TEMPLATES
from genesys_engine.gab.errors import InputError

SCHEMA = "experiment.schema.json"
_LIST = "\n".join(f"    {name:<12}{about}" for name, about in TEMPLATES.items())


@click.command(
    "init",
    help=f"""Write a commented experiment to PATH (experiment.toml).

    Without --template it holds every section and key with its default. Never overwrites a file.

    \b
    Templates:
{_LIST}

    If {SCHEMA} lies next to PATH (genesys-engine config schema prints it), the file names it in its
    first line, where editors look for it.
    """,
)
@click.argument("path", type=click.Path(path_type=Path), default=Path("experiment.toml"))
@click.option(
    "--template", type=NearChoice(tuple(TEMPLATES)), help="Write this one instead; see below."
)
def command(path: Path, template: str | None) -> int:
    """Write the file; see the help above."""
    if path.is_dir():
        path = path / "experiment.toml"
    text = _text(template, path)
    if (path.parent / SCHEMA).is_file():
        text = f"#:schema {SCHEMA}\n{text}"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
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


def _text(template: str | None, path: Path) -> str:
    if template is not None:
        from genesys_engine.engine.config.templates import template_text

        return template_text(template, str(path))
    from genesys_engine.engine.config.template import template as every_key

    return every_key()
