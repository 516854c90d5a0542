"""How commands answer: data on stdout, everything else on stderr.

A command takes `@json_option` and answers with `print_json` or `print_table`; messages go
through `note`.  Under --json stdout is for `answer` alone: whatever else is printed while the
command lasts, by plugins above all, goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from genesys_engine.engine.llm.redact import redact

SCHEMA = 1

_ANSWERS = "genesys_engine.answers"
"""Key of the stream for answers in what click keeps with a command."""


def reserve_stdout(ctx: click.Context) -> None:
    """Send all that is printed until the command ends to stderr, save what `answer` writes."""
    if _ANSWERS not in ctx.meta:
        ctx.meta[_ANSWERS] = sys.stdout
        ctx.with_resource(contextlib.redirect_stdout(sys.stderr))


def _reserve(ctx: click.Context, parameter: click.Parameter, given: bool) -> bool:
    if given:
        reserve_stdout(ctx)
    return given


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_reserve, help="Answer with JSON."
)

set_option = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override a value of the experiment (TOML or a bare string); may be repeated.",
)

# Texts of plugins and designs must not steer the terminal; tabs and line breaks may stay.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def print_json(data: Any, *, schema: int = SCHEMA) -> None:
    """Write {"schema": schema, "data": data} to stdout.

    Raises:
        ValueError: data holds NaN or infinity, which JSON does not know.
    """
    answer(json.dumps({"schema": schema, "data": data}, allow_nan=False, indent=2))


def answer(text: str) -> None:
    """Write a line to stdout, also where it is reserved for answers."""
    ctx = click.get_current_context(silent=True)
    click.echo(text, file=ctx.meta.get(_ANSWERS) if ctx else None)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Write a table to stdout; None is shown as an empty cell.

    A terminal's width is obeyed; a pipe or a file gets every line whole.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if cell is None else clean(str(cell))) for cell in row))
    wide = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, width=wide, highlight=False, markup=False).print(table)


def note(text: str) -> None:
    """Write a message to stderr; no key is shown."""
    click.echo(clean(redact(text)), err=True)


def clean(text: str) -> str:
    """Return text without control characters, safe to show on a terminal."""
    return text.translate(_CONTROLS)
