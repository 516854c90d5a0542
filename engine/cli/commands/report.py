"""`genesys-engine report RUN`."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import answer, json_option, note, print_json
from genesys_engine.engine.cli.run_folder import run_argument


@click.command("report")
@run_argument
@click.option("--out", type=click.Path(path_type=Path), help="File; RUN/report.html by default.")
@json_option
def command(run: Path, out: Path | None, as_json: bool) -> None:
    """Write the report of RUN as one self-contained HTML page; print its path.

    Works at any time, also while the run is active.
    """
    from genesys_engine.engine.report import write_report
    from genesys_engine.engine.store.run_store import Store

    with Store.open(run) as store:
        path = write_report(store, out, say=note)
    print_json({"report": str(path)}) if as_json else answer(str(path))
