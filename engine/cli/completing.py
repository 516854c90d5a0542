"""What TAB offers: runs, their designs, keys of an experiment, components.

click makes the scripts for bash, zsh and fish.  A shell asks at every TAB, so nothing here imports
what takes long: a run's designs are read with `sqlite3` alone, and the keys of an experiment from a
list that `docs/experiment_page.py` writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

if TYPE_CHECKING:
    from sqlite3 import Connection

KEYS = Path(__file__).with_name("experiment_keys.json")
RUN_FILE = "run.sqlite"
MOST = 200
"""Folders that are looked into, and designs that are offered."""


class BashWithKeys(BashComplete):
    """No blank behind a key: its value follows."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", 'COMPREPLY+=("$value"); [[ $value == *= ]] && compopt -o nospace'
    )


def register() -> None:
    """Make click use it; called before a shell is answered."""
    add_completion_class(BashWithKeys, "bash")


def runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer folders that hold a run, one level further down too; else those of the shell."""
    found = sorted(str(folder) for folder in _run_folders(incomplete))
    return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="dir")]


def designs(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the designs of the run that was given before: seeds by name, others by number."""
    import sqlite3

    given = ctx.params.get("run")
    file = Path(given, RUN_FILE) if given is not None else None
    if file is None or not file.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return list(_designs(database, incomplete))
    except sqlite3.Error:  # no run of ours, or a damaged one: the command says so
        return []


def keys(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the keys of an experiment, `section.key=`."""
    known: list[str] = json.loads(KEYS.read_text(encoding="utf-8"))
    return [CompletionItem(f"{key}=") for key in known if key.startswith(incomplete)]


def components(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the names of components, with what they are."""
    from genesys_engine.plugins.host import PluginHost

    found = {
        described.name: f"{described.kind}: {described.summary}"
        for described in PluginHost().registry.descriptions()
    }
    return [
        CompletionItem(name, help=said)
        for name, said in sorted(found.items())
        if name.startswith(incomplete)
    ]


def _run_folders(incomplete: str) -> Iterator[Path]:
    typed = Path(incomplete)
    base, start = (typed, "") if incomplete.endswith("/") else (typed.parent, typed.name)
    for folder in _folders(base, start):
        if (folder / RUN_FILE).is_file():
            yield folder
        else:
            yield from (each for each in _folders(folder) if (each / RUN_FILE).is_file())


def _folders(base: Path, start: str = "") -> list[Path]:
    try:
        inside = (each for each in base.iterdir() if each.name.startswith(start))
        seen = [each for each in inside if start.startswith(".") or not each.name.startswith(".")]
        return [each for each in seen[:MOST] if each.is_dir()]
    except OSError:
        return []


def _designs(database: Connection, incomplete: str) -> Iterator[CompletionItem]:
    rows = database.execute(
        "SELECT id, operator, change FROM designs WHERE accepted ORDER BY id LIMIT ?", (MOST,)
    )
    for number, operator, change in rows:
        name = operator.removeprefix("seed:") if operator.startswith("seed:") else str(number)
        if name.startswith(incomplete):
            yield CompletionItem(name, help=_line(change))


def _line(text: str) -> str:
    """Return a text that may be a candidate's as one short line."""
    return "".join(c if c.isprintable() else " " for c in text)[:80]
