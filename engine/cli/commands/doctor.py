"""`genesys-engine doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from genesys_engine.engine.cli.output import clean, json_option, note, print_json, wrapped
from genesys_engine.engine.doctor import examine
from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EXIT_OK


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check this machine and this installation; a row that fails says how to fix it.

    Exit code 4 if something fails that every run needs.
    """
    rows = examine()
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        for row in rows:
            head = f"{row.status:<5} {row.name:<24}  "
            click.echo(clean(head + wrapped(row.found, len(head))))
            if row.fix:
                click.echo(clean(f"      {wrapped('help: ' + row.fix, 12)}"))
        wrong = [row.name for row in rows if row.status != "ok"]
        note(f"not well: {', '.join(wrong)}" if wrong else f"all {len(rows)} are well")
    return EXIT_ENVIRONMENT if any(row.status == "fail" for row in rows) else EXIT_OK
