"""`genesys-engine doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

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
from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EXIT_OK


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
    if experiment is None:
        yield from examine()
        if name is not None:
            yield from _of_executor(name, options_of(sets))
        return
    from genesys_engine.engine.run.assembly import load

    setup = load(experiment, sets)
    yield from examine()
    asked = setup.experiment, setup.host.registry
    yield from models(*asked, lambda role: note(f"asking the {role}"))
    if name is not None:
        section = setup.experiment.executor
        yield from _of_executor(name, section.options if section.use == name else {})


def _of_executor(name: str, options: Mapping[str, object]) -> Iterator[Row]:
    from genesys_engine.plugins.host import PluginHost

    yield from executor_rows(name, PluginHost().registry, options)


def options_of(sets: Sequence[str]) -> Mapping[str, object]:
    """Return the options of an executor that `--set executor.KEY=VALUE` give."""
    import tomli

    found: dict[str, object] = {}
    for text in sets:
        key, _, value = text.partition("=")
        section, _, option = key.strip().partition(".")
        if section != "executor" or not option or not value:
            raise click.UsageError(f"without EXPERIMENT: --set executor.KEY=VALUE, not {text!r}")
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
