"""`genesys-engine doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.doctor import Row, examine, models
from genesys_engine.engine.cli.doctor import executor as executor_rows
from genesys_engine.engine.cli.output import (
    answer,
    json_option,
    note,
    print_json,
    set_option,
    wrapped,
)
from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EXIT_OK, InputError

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry


@click.command("doctor")
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@click.option(
    "--executor",
    metavar="NAME",
    help="Also look at what this executor offers: the nodes of its cluster.",
)
@set_option
@json_option
def command(
    experiment: Path | None, executor: str | None, sets: tuple[str, ...], as_json: bool
) -> int:
    """Check this machine and the installation; each failing row says how to fix it.

    With EXPERIMENT, also sends one test request to the language model of every role. With
    --executor, its options are those of EXPERIMENT or of --set executor.KEY=VALUE. Exit code 4 if
    a requirement of every run, or of EXPERIMENT, is not met.
    """
    rows = []
    for row in _rows(experiment, executor, sets):
        rows.append(row)
        if not as_json:
            _show(row)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        wrong = [row.name for row in rows if row.status != "ok"]
        note(f"failing: {', '.join(wrong)}" if wrong else f"all {len(rows)} ok")
    return EXIT_ENVIRONMENT if any(row.status == "fail" for row in rows) else EXIT_OK


def _rows(experiment: Path | None, name: str | None, sets: Sequence[str]) -> Iterator[Row]:
    """Yield each row as soon as it is known; an experiment is read first."""
    from genesys_engine.plugins.host import PluginHost

    if experiment is None:
        offers = _of_executor(name, PluginHost().registry, options_of(sets))
        yield from examine()
        yield from offers
        return
    from genesys_engine.engine.run.assembly import load

    setup = load(experiment, sets)
    section, registry = setup.experiment.executor, setup.host.registry
    offers = _of_executor(name, registry, section.options if section.use == name else {})
    yield from examine()
    yield from models(setup.experiment, registry, lambda role: note(f"asking the {role}"))
    yield from offers


def _of_executor(
    name: str | None, registry: Registry, options: Mapping[str, object]
) -> Iterator[Row]:
    """Return what an executor offers, if one was named; name and options are checked at once."""
    return iter(()) if name is None else executor_rows(name, registry, options)


def options_of(sets: Sequence[str]) -> Mapping[str, object]:
    """Return the options of an executor that `--set executor.KEY=VALUE` give."""
    import tomli

    found: dict[str, object] = {}
    for text in sets:
        key, _, value = text.partition("=")
        section, _, option = key.strip().partition(".")
        if section != "executor" or not option or not value:
            raise InputError(
                f"without EXPERIMENT it takes executor.KEY=VALUE, not {text!r}", where="--set"
            )
        try:
            found[option] = tomli.loads(f"v = {value}")["v"]
        except tomli.TOMLDecodeError:
            found[option] = value
    return found


def _show(row: Row) -> None:
    head = f"{row.status:<5} {row.name:<24}  "
    answer(head + wrapped(row.found, len(head)))
    if row.fix:
        answer(f"      {wrapped('help: ' + row.fix, 12)}")
