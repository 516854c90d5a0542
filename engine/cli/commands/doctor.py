"""`genesys-engine doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from genesys_engine.engine.cli.output import answer, json_option, note, print_json, wrapped
from genesys_engine.engine.doctor import examine, models
from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EXIT_OK


@click.command("doctor")
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@json_option
def command(experiment: Path | None, as_json: bool) -> int:
    """Check this machine and this installation; a row that fails says how to fix it.

    With EXPERIMENT, the language model of each of its roles is asked once too. Exit code 4 if
    something fails that every run needs, or that this one needs.
    """
    rows = examine()
    if experiment is not None:
        from genesys_engine.engine.assembly import load

        host, loaded = load(experiment, ())
        rows += models(loaded, host.registry)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        for row in rows:
            head = f"{row.status:<5} {row.name:<24}  "
            answer(head + wrapped(row.found, len(head)))
            if row.fix:
                answer(f"      {wrapped('help: ' + row.fix, 12)}")
        wrong = [row.name for row in rows if row.status != "ok"]
        note(f"not well: {', '.join(wrong)}" if wrong else f"all {len(rows)} are well")
    return EXIT_ENVIRONMENT if any(row.status == "fail" for row in rows) else EXIT_OK
