"""How commands answer: data on stdout, everything else on stderr.

A command takes `@json_option` and answers with `print_json`, `print_table` or `answer`; messages
go through `note`.  Nothing else writes to the terminal, so that texts of candidates, of language
models and of plugins pass `clean` on every way there.  Under --json stdout is for `answer` alone:
whatever else is printed while the command lasts, by plugins above all, goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

from genesys_engine.engine.cli import completing
from genesys_engine.engine.common.redact import redact
from genesys_engine.engine.common.terminal import clean, spoken, styled

SCHEMA = 1

NARROW = 80
"""Columns of a line where no terminal says how wide it is."""
_WHOLE = 24  # a cell of so many characters is not broken
_BETWEEN = 3  # columns of a terminal between two of a table

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
    shell_complete=completing.keys,
    metavar="SECTION.KEY=VALUE",
    help="Override a value of the experiment (TOML or a bare string); repeatable.",
)


def print_json(data: Any, *, schema: int = SCHEMA) -> None:
    """Write {"schema": schema, "data": data} to stdout.

    Raises:
        ValueError: data holds NaN or infinity, which JSON does not know.
    """
    answer(in_json({"schema": schema, "data": data}, indent=2))


def in_json(data: Any, *, indent: int | None = None) -> str:
    """Return data as JSON in which no control character stands by itself.

    Raises:
        ValueError: data holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(data, allow_nan=False, indent=indent)
    return text.replace("\x7f", "\\u007f")  # the only one that `json` does not escape


def answer(text: str, *, nl: bool = True) -> None:
    """Write text, or a line, to stdout, also where it is reserved for answers."""
    spoken()
    ctx = click.get_current_context(silent=True)
    click.echo(clean(text), file=ctx.meta.get(_ANSWERS) if ctx else None, nl=nl)


def terminal_width() -> int:
    """Return the columns of the terminal or of $COLUMNS; of a pipe and of a file `NARROW`."""
    return shutil.get_terminal_size((NARROW, 24)).columns


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Write a table to stdout, no wider than the terminal; None is shown as an empty cell.

    Columns without anything to show are left out; where a line is too long, sentences are broken
    between words and short cells are kept whole.  Where that is not enough, each cell gets a line.
    """
    spoken()
    cells = [["" if cell is None else clean(str(cell)) for cell in row] for row in rows]
    shown = [i for i in range(len(columns)) if not cells or any(row[i] for row in cells)]
    names, cells = [clean(columns[i]) for i in shown], [[row[i] for i in shown] for row in cells]
    longest = [max(map(len, each)) for each in zip(names, *cells, strict=True)]
    words = [_longest_word(each) for each in zip(names, *cells, strict=True)]
    needs = [all_ if all_ <= _WHOLE else word for all_, word in zip(longest, words, strict=True)]
    if sum(needs) + _BETWEEN * len(names) <= terminal_width():
        _print_grid(names, cells, [each <= _WHOLE for each in longest], title)
    else:
        _print_records(names, cells, title)


def _print_grid(
    names: Sequence[str], cells: Sequence[Sequence[str]], whole: Sequence[bool], title: str | None
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = None if title is None else styled(title, style="table.title")
    table = Table(box=SIMPLE_HEAD, title=shown, title_justify="left", pad_edge=False)
    for name, is_whole in zip(names, whole, strict=True):
        table.add_column(styled(name), no_wrap=is_whole, overflow="fold")
    for row in cells:
        table.add_row(*map(styled, row))
    console = Console(file=sys.stdout, width=terminal_width(), highlight=False, markup=False)
    console.print(table)


def _print_records(names: Sequence[str], cells: Sequence[Sequence[str]], title: str | None) -> None:
    """Write a line for each cell: words that would have to be broken stay whole."""
    indent = max(map(len, names)) + 2
    answer(title or "", nl=title is not None)
    for row in cells:
        for name, cell in zip(names, row, strict=True):
            if cell:
                answer(f"{name:<{indent}}{wrapped(cell, indent)}")
        answer("")


def _longest_word(texts: Sequence[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=0)


def wrapped(text: str, indent: int = 0, width: int | None = None) -> str:
    """Return a text broken between words to fit the terminal.

    Args:
        indent: of the lines after the first, which stands behind as many columns already.
    """
    width = terminal_width() if width is None else width
    lines = textwrap.wrap(
        text, max(20, width - indent), break_long_words=False, break_on_hyphens=False
    )
    return ("\n" + " " * indent).join(lines)


def note(text: str, *, nl: bool = True) -> None:
    """Write a message to stderr; no key is shown."""
    spoken()
    with contextlib.suppress(OSError):  # whoever read it is gone: that ends no command
        click.echo(clean(redact(text)), err=True, nl=nl)
