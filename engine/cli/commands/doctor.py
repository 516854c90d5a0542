"""`genesys-engine doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from genesys_engine.engine.cli.doctor import Row, examine, models
from genesys_engine.engine.cli.output import answer, json_option, note, print_json, wrapped
from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EXIT_OK


@click.command("doctor")
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@json_option
def command(experiment: Path | None, as_json: bool) -> int:
    """Check this machine and the installation; each failing row says how to fix it.

    With EXPERIMENT, also sends one test request to the language model of every role. Exit code 4
    if a requirement of every run, or of EXPERIMENT, is not met.
    """
    rows = []
    for row in _rows(experiment):
        rows.append(row)
        if not as_json:
            _show(row)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        wrong = [row.name for row in rows if row.status != "ok"]
        note(f"failing: {', '.join(wrong)}" if wrong else f"all {len(rows)} ok")
    return EXIT_ENVIRONMENT if any(row.status == "fail" for row in rows) else EXIT_OK


def _rows(experiment: Path | None) -> Iterator[Row]:
    """Yield each row as soon as it is known; an experiment is read first."""
    if experiment is None:
        yield from examine()
        return
    from genesys_engine.engine.run.assembly import load

    setup = load(experiment, ())
    yield from examine()
    asked = setup.experiment, setup.host.registry
    yield from models(*asked, lambda role: note(f"asking the {role}"))


def _show(row: Row) -> None:
    head = f"{row.status:<5} {row.name:<24}  "
    answer(head + wrapped(row.found, len(head)))
    if row.fix:
        answer(f"      {wrapped('help: ' + row.fix, 12)}")
