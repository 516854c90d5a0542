"""`genesys-engine llm`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli import completing
from genesys_engine.engine.cli.near import NearGroup
from genesys_engine.engine.cli.output import answer, json_option, note, print_json, print_table
from genesys_engine.engine.cli.run_folder import run_argument
from genesys_engine.engine.common.redact import redact
from genesys_engine.gab.errors import InputError

if TYPE_CHECKING:
    from genesys_engine.engine.llm.ledger import Call
    from genesys_engine.engine.llm.recording import Line
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.engine.views.llm import Asker


@click.group("llm", cls=NearGroup)
def command() -> None:
    """Show language-model calls and costs, and record replies."""


@command.command("usage")
@run_argument
@json_option
def usage(run: Path, as_json: bool) -> None:
    """Show calls, tokens and cost of RUN by role, and the abandoned designs."""
    from genesys_engine.engine.store.run_store import Store
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


@command.command("show")
@run_argument
@click.argument("design", required=False, shell_complete=completing.designs)
@json_option
def show(run: Path, design: str | None, as_json: bool) -> None:
    """Print all requests to language models for DESIGN of RUN, with the replies.

    DESIGN is its number, or tN for task N: an abandoned design has no number.  Without DESIGN,
    lists the tasks that sent requests.
    """
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.engine.views.llm import askers, exchange

    with Store.open(run) as store:
        if design is None:
            _list_askers(askers(store), as_json)
            return
        seq = _task_of(store, design)
        calls = exchange(store, seq)
    if as_json:
        print_json([_call_json(call) for call in calls])
        return
    if not calls:
        note(f"no calls for {design}, or all of them were answered from the record")
    for number, call in enumerate(calls, 1):
        _print_call(number, call)


def _list_askers(found: Sequence[Asker], as_json: bool) -> None:
    if as_json:
        print_json([{"task": f"t{each.seq}", **asdict(each)} for each in found])
        return
    rows = [(f"t{e.seq}", e.outcome, e.usage.calls, e.usage.tokens) for e in found]
    print_table(("task", "outcome", "calls", "tokens"), rows)


def _task_of(store: Store, design: str) -> int:
    """Return the task of a design (its number, #number or name), or of tN.

    Raises:
        InputError: no such design; the hint lists near names.
    """
    from genesys_engine.engine.store.names import find_design

    if task := re.fullmatch(r"t#?(\d{1,9})", design.strip()):
        return int(task[1])
    try:
        return store.design(find_design(store, design.strip())).seq
    except InputError as error:
        hint = f"{error.hint}; a task is tN, as `llm show RUN` lists them"
        raise InputError(error.message, where=error.where, hint=hint) from None


def _call_json(call: Call) -> dict[str, object]:
    names = ("role", "model", "request", "reply", "refused", "input_tokens", "output_tokens")
    more = ("usd", "details", "latency_s", "attempt")
    return {name: getattr(call, name) for name in (*names, *more)}


def _print_call(number: int, call: Call) -> None:
    """Print one call in full, without control sequences for the terminal."""
    details = ", ".join(f"{key} {value}" for key, value in sorted(call.details.items()))
    counts = f"{call.input_tokens}+{call.output_tokens} tokens in {call.latency_s:.1f} s"
    head = f"=== {number}. {call.role}: {call.model}, {counts}"
    texts = [head + (f", {details}" if details else "")]
    for role, text in call.messages:
        texts += [f"--- {role}", text]
    texts += ["--- reply", call.reply] if call.reply is not None else []
    texts += ["--- refused", call.refused] if call.refused is not None else []
    answer(redact("\n".join(text.rstrip() for text in texts)) + "\n")


@command.command("record")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def record(runs: tuple[Path, ...], file: Path, as_json: bool) -> None:
    """Write the replies in RUN (a run, a study or a recording) to FILE, for `use = "replay"`.

    FILE ends in .jsonl, .jsonl.gz or .jsonl.xz.  Several RUN are merged: each request is kept
    once, with the reply of the first RUN that has it.
    """
    from genesys_engine.engine.common.text import plural
    from genesys_engine.engine.llm.recording import record as write

    with contextlib.ExitStack() as stack:
        calls = write(file, *(_lines(run, stack) for run in runs))
    if as_json:
        print_json({"file": str(file), "calls": calls, "bytes": file.stat().st_size})
    else:
        note(f"{plural(calls, 'reply', 'replies')} in {file} ({file.stat().st_size:,} bytes)")


def _lines(run: Path, stack: contextlib.ExitStack) -> Iterator[Line]:
    """Return the recorded calls of a run, a study or a recording, which `stack` will close."""
    from genesys_engine.engine.compare.store import StudyStore
    from genesys_engine.engine.llm.ledger import Ledger
    from genesys_engine.engine.llm.recording import lines_of
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.plugins.llm.recording import read_recording

    if run.is_file():
        return read_recording(run)
    if StudyStore.exists(run):
        with StudyStore.open(run) as study:
            path = study.path
    else:
        with Store.open(run) as store:
            path = store.path
    ledger = Ledger(path, write=False)
    stack.callback(ledger.close)
    return lines_of(ledger)
