"""`genesys-engine doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from genesys_engine.engine.cli.output import json_option, print_json, print_table
from genesys_engine.engine.doctor import examine
from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EXIT_OK


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check this machine and this installation; a row that fails says how to mend it.

    Exit code 4 if something fails that every run needs.
    """
    rows = examine()
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_table(
            ("", "what", "found", "help"),
            [(row.status, row.name, row.found, row.fix) for row in rows],
        )
    return EXIT_ENVIRONMENT if any(row.status == "fail" for row in rows) else EXIT_OK
