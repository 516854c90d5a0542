"""`genesys-engine run EXPERIMENT`: from a file to a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import json_option, set_option
from genesys_engine.engine.cli.run_folder import note_how_to_resume


@click.command("run")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; must be new.")
@set_option
@json_option
def command(experiment: Path, out: Path | None, sets: tuple[str, ...], as_json: bool) -> int:
    """Run EXPERIMENT (a TOML file) until its budgets are used up.

    The last line gives the path of the best design and of the report. Ctrl-C stops the run once
    its running trials are finished; `genesys-engine resume` resumes it.
    """
    folder = out
    try:
        from genesys_engine.engine.api.experiment import Experiment
        from genesys_engine.engine.api.session import planned_run, start_run
        from genesys_engine.engine.cli.session import session

        chosen = Experiment.from_toml(experiment, sets)
        folder = planned = out or planned_run(chosen)
        return session(
            lambda callbacks: start_run(chosen, planned, callbacks), planned, as_json=as_json
        )
    except KeyboardInterrupt as interrupt:
        note_how_to_resume(interrupt, folder)
        raise
