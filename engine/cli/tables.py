"""Tables of results: as many columns as fit, in one line per row; `--wide`, `--columns`, `--csv`.

A command declares its columns in the order in which they stand, each with a rank; where a
terminal is too narrow for all, the least telling ones are left out and named.
"""

from __future__ import annotations

import csv
import functools
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

from genesys_engine.engine.cli.output import answer, note, terminal_width
from genesys_engine.engine.common.terminal import clean

Row = TypeVar("Row")

HIDDEN = 1000
"""Rank of a column that is shown with --wide or --columns alone."""
_GAP = "  "
_NAMED = 8  # of the columns that were left out
_STRETCHED = 20  # the least that a column of running text is worth showing at
_SPACES = re.compile(r"[ \t\n]")  # where a title may be broken


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: its name for --columns and CSV, its title, and what it shows of a row.

    `value` is what CSV and scripts get, `text` what a person reads (by default the value, a dash
    for None).  A smaller `rank` is shown before a larger one.  A `left` column holds words; one
    that is `stretched` holds sentences, which are cut to what is left of a line.
    """

    key: str
    title: str
    value: Callable[[Row], Any]
    text: Callable[[Row], str] | None = None
    rank: int = HIDDEN
    left: bool = False
    stretched: bool = False

    def cell(self, row: Row) -> str:
        """Return what a person reads."""
        if self.text is not None:
            return clean(self.text(row))
        value = self.value(row)
        return "–" if value is None else " ".join(clean(str(value)).split())


@dataclass(frozen=True)
class Layout:
    """What the options of a table of results ask for."""

    wide: bool = False
    columns: tuple[str, ...] = ()
    csv: bool = False


def layout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --wide, --columns and --csv; it takes them as `layout`."""

    @click.option(
        "--wide", is_flag=True, help="Show all columns in full, regardless of the terminal's width."
    )
    @click.option("--columns", metavar="NAME,...", help="Show these columns, in this order.")
    @click.option("--csv", "as_csv", is_flag=True, help="Answer with CSV: all columns, all digits.")
    @functools.wraps(command)
    def wrapped(*args: Any, wide: bool, columns: str | None, as_csv: bool, **rest: Any) -> Any:
        names = [name.strip() for name in (columns or "").split(",")]
        layout = Layout(wide, tuple(filter(None, names)), as_csv)
        return command(*args, layout=layout, **rest)

    return wrapped


def print_csv(columns: Sequence[Column[Row]], rows: Iterable[Row], layout: Layout) -> None:
    """Write CSV to stdout: a head with the names, an empty cell for None."""
    chosen = _chosen(columns, layout) or columns
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key for column in chosen])
    for row in rows:
        values = [column.value(row) for column in chosen]
        writer.writerow(["" if value is None else value for value in values])
    answer(out.getvalue().rstrip("\n"))


def print_results(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    layout: Layout,
    *,
    title: str = "",
    footer: Mapping[str, str] | None = None,
) -> list[str]:
    """Write a table to stdout and return the names of the columns that were left out.

    Args:
        title: a line above it.
        footer: column -> text of one more line, such as a control's scores.
    """
    chosen = _chosen(columns, layout)
    whole = bool(chosen) or layout.wide
    telling = [c for c in columns if any(c.value(row) is not None for row in rows)]
    shown = chosen or (telling if layout.wide else _fitting(telling, rows, footer or {}))
    table = [_cells(shown, row) for row in rows]
    if footer:
        table.append([clean(footer.get(column.key, "")) for column in shown])
    widths = [_width(column, [row[i] for row in table]) for i, column in enumerate(shown)]
    if not whole:
        widths = _stretched(shown, widths)
    if title:
        answer(clean(title))
    for line in _lines(shown, widths, table):
        answer(line)
    answer("")
    return [] if whole else [column.key for column in telling if column not in shown]


def note_left_out(names: Iterable[str]) -> None:
    """Say on stderr which columns were left out, and how to see them."""
    if names := list(dict.fromkeys(names)):
        named = [name for name in names if "." not in name][:_NAMED]
        note(f"more columns: --wide, --columns or --csv ({', '.join(named)} ...)")


def _chosen(columns: Sequence[Column[Row]], layout: Layout) -> list[Column[Row]]:
    from genesys_engine.plugins.registry import suggest

    known = {column.key: column for column in columns}
    for name in layout.columns:
        if name not in known:
            raise click.BadParameter(
                f"unknown column {name!r}; {suggest(name, known)}", param_hint="--columns"
            )
    return [known[name] for name in layout.columns]


def _fitting(
    columns: Sequence[Column[Row]], rows: Sequence[Row], footer: Mapping[str, str]
) -> list[Column[Row]]:
    """Return the columns that fit, the most telling first to be taken."""
    left, kept = terminal_width() + len(_GAP), set[str]()
    for column in sorted(columns, key=lambda column: column.rank):
        if column.rank >= HIDDEN:
            continue
        cells = [column.cell(row) for row in rows] + [footer.get(column.key, "")]
        need = _STRETCHED if column.stretched else _width(column, cells)
        if need + len(_GAP) <= left or not kept:
            left -= need + len(_GAP)
            kept.add(column.key)
    return [column for column in columns if column.key in kept]


def _stretched(columns: Sequence[Column[Row]], widths: Sequence[int]) -> list[int]:
    """Return the widths with what is left of a line given to the columns of sentences."""
    fixed = sum(w for c, w in zip(columns, widths, strict=True) if not c.stretched)
    free = terminal_width() - fixed - len(_GAP) * (len(columns) - 1)
    many = sum(column.stretched for column in columns)
    return [
        min(width, max(1, free // many)) if column.stretched else width
        for column, width in zip(columns, widths, strict=True)
    ]


def _width(column: Column[Any], cells: Iterable[str]) -> int:
    from rich.cells import cell_len

    longest = max(map(cell_len, re.split(_SPACES, column.title)))
    return max([longest, *map(cell_len, cells)])


def _title(column: Column[Any], width: int) -> list[str]:
    """Return the lines of a title of at most `width` columns; a no-break space holds words."""
    return [line.replace("\xa0", " ") for line in textwrap.wrap(column.title, width)]


def _cells(columns: Sequence[Column[Row]], row: Row) -> list[str]:
    return [column.cell(row) for column in columns]


def _lines(
    columns: Sequence[Column[Row]], widths: Sequence[int], table: Sequence[Sequence[str]]
) -> Iterable[str]:
    titles = [_title(column, width) for column, width in zip(columns, widths, strict=True)]
    height = max(map(len, titles))
    for number in range(height):
        cells = [[""] * (height - len(lines)) + lines for lines in titles]
        yield _line(columns, widths, [cell[number] for cell in cells])
    yield _GAP.join("─" * width for width in widths)
    for row in table:
        yield _line(columns, widths, row)


def _line(columns: Sequence[Column[Row]], widths: Sequence[int], cells: Sequence[str]) -> str:
    parts = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        text = _cut(cell, width)
        parts.append(_pad(text, width, left=column.left or column.stretched))
    return _GAP.join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    """Return a text of at most `width` columns, cut with … where it is longer."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _pad(text: str, width: int, *, left: bool) -> str:
    from rich.cells import cell_len

    pad = " " * (width - cell_len(text))
    return text + pad if left else pad + text
