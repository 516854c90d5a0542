"""`genesys-engine llm`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from genesys_engine.engine.cli.near import NearGroup
from genesys_engine.engine.cli.output import json_option, note, print_json, print_table
from genesys_engine.engine.cli.run_folder import run_argument


@click.group("llm", cls=NearGroup)
def command() -> None:
    """Show what language models were used for in a run, and record their replies."""


@command.command("usage")
@run_argument
@json_option
def usage(run: Path, as_json: bool) -> None:
    """Show calls, tokens and cost of RUN by role, and the designs that were given up."""
    from genesys_engine.engine.store import Store
    from genesys_engine.engine.views.llm import llm_view, usd

    with Store.open(run) as store:
        found = llm_view(store)
    if as_json:
        print_json(found.to_json())
        return
    rows: list[list[object]] = [
        [role, found.models.get(role, ""), u.calls, u.input_tokens, u.output_tokens, usd(u.usd)]
        for role, u in (*found.roles.items(), ("all", found.total))
    ]
    print_table(("role", "model", "calls", "input tokens", "output tokens", "cost"), rows)
    if found.abandoned:
        print_table(("given up", "designs"), found.abandoned.items())


@command.command("record")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def record(runs: tuple[Path, ...], file: Path, as_json: bool) -> None:
    """Write the replies of RUN, a run, a study or a recording, to FILE, for `use = "replay"`.

    FILE ends in .jsonl, .jsonl.gz or .jsonl.xz.  Of several RUN it holds every request once, with
    the reply of the first that has it.
    """
    from genesys_engine.engine.llm.recording import record as write
    from genesys_engine.engine.views.text import plural

    with contextlib.ExitStack() as stack:
        calls = write(file, *(_lines(run, stack) for run in runs))
    if as_json:
        print_json({"file": str(file), "calls": calls, "bytes": file.stat().st_size})
    else:
        note(f"{plural(calls, 'reply', 'replies')} in {file} ({file.stat().st_size:,} bytes)")


def _lines(run: Path, stack: contextlib.ExitStack) -> Iterator[dict[str, Any]]:
    """Return the recorded calls of a run, a study or a recording, which `stack` will close."""
    from genesys_engine.engine.compare.store import StudyStore
    from genesys_engine.engine.llm.ledger import Ledger
    from genesys_engine.engine.llm.recording import lines_of
    from genesys_engine.engine.store import DATABASE, Store
    from genesys_engine.plugins.llm.recording import read_recording

    if run.is_file():
        return read_recording(run)
    if StudyStore.exists(run):
        with StudyStore.open(run) as study:
            path = study.path
    else:
        with Store.open(run) as store:
            path = store.folder / DATABASE
    ledger = Ledger(path, write=False)
    stack.callback(ledger.close)
    return lines_of(ledger)
