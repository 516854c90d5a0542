"""`genesys-engine events RUN`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import answer, in_json, json_option, print_json
from genesys_engine.engine.cli.run_folder import run_argument

if TYPE_CHECKING:
    from genesys_engine.engine.store.events import Event
    from genesys_engine.engine.store.run_store import Store

POLL_S = 0.5


@click.command("events")
@run_argument
@click.option("--digest", is_flag=True, help="Print one line: the digest of the decisive events.")
@click.option("--follow", is_flag=True, help="Keep printing new events while the run is active.")
@click.option("--kind", "kinds", multiple=True, help="Only this kind; repeatable.")
@json_option
def command(run: Path, digest: bool, follow: bool, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show the event log of RUN.

    Two runs that made the same decisions on the same results have the same digest. With
    --follow --json every line is a JSON object.
    """
    from genesys_engine.engine.store.events import digest_events
    from genesys_engine.engine.store.run_store import Store

    if digest and (follow or kinds):
        raise click.UsageError("--digest covers the whole log: omit --follow and --kind")
    _refuse_unknown(kinds)
    with Store.open(run) as store:
        if digest:
            value = digest_events(store.events())
            print_json({"digest": value}) if as_json else answer(value)
            return
        found = (e for e in _log(store, follow=follow) if not kinds or e.kind in kinds)
        if as_json and not follow:
            print_json([_plain(event) for event in found])
            return
        for event in found:
            answer(in_json(_plain(event)) if as_json else _line(event))


def _refuse_unknown(kinds: tuple[str, ...]) -> None:
    """Raise `InputError` for an unknown kind, which would silently show nothing."""
    from genesys_engine.gab.errors import InputError
    from genesys_engine.plugins import event_kinds as events
    from genesys_engine.plugins.registry import suggest

    known = {value for name, value in vars(events).items() if name.isupper() and "." in value}
    for kind in kinds:
        if kind not in known:
            raise InputError(
                f"unknown kind of event {kind!r}", where="--kind", hint=suggest(kind, known)
            )


def _log(store: Store, *, follow: bool) -> Iterator[Event]:
    """Yield the log, and with `follow` new events while a process works on the run."""
    from genesys_engine.plugins.event_kinds import RUN_FINISHED

    last = 0
    while True:
        alive = store.being_written()  # what it wrote last is read below
        for event in store.events(after=last):
            last = event.id
            yield event
            if event.kind == RUN_FINISHED:
                return
        if not follow or not alive:
            return
        time.sleep(POLL_S)


def _plain(event: Event) -> dict[str, object]:
    names = ("id", "kind", "payload", "decisive", "at")
    return {name: getattr(event, name) for name in names}


def _line(event: Event) -> str:
    stamp = time.strftime("%H:%M:%S", time.localtime(event.at))
    details = " ".join(f"{key}={_value(value)}" for key, value in event.payload.items())
    return f"{event.id:>6}  {stamp}  {event.kind:<22} {details}".replace("\n", " ")


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
