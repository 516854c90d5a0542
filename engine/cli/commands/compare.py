"""`genesys-engine compare EXPERIMENT`: from a file to a table of arms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import (
    answer,
    json_option,
    note,
    print_json,
    print_table,
    set_option,
)
from genesys_engine.gab.errors import EXIT_OK

if TYPE_CHECKING:
    from genesys_engine.engine.compare.observer import StudyObserver


@click.command("compare")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Study folder; studies/NAME by default. Resumes an existing study.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the runs of an evolution study to FILE (.jsonl or .jsonl.xz) at its end, for"
    " `[compare] recording`.",
)
@set_option
@json_option
def command(
    experiment: Path, out: Path | None, record: Path | None, sets: tuple[str, ...], as_json: bool
) -> int:
    """Compare the arms of EXPERIMENT's [compare], with confidence intervals.

    An implementation study gives every arm the same proposals; best_of_n and sequential may spend
    the tokens that the arm named by `equal_to` spent.  An evolution study runs whole experiments.
    The table shows results with 95 % intervals, and costs; a page with plots is written to the
    folder.  Ctrl-C stops the study; the same command, or `genesys-engine resume`, resumes it.
    """
    from genesys_engine.engine.api.experiment import Experiment
    from genesys_engine.engine.api.session import begin_study, planned_study, record_study

    chosen = Experiment.from_toml(experiment, sets)
    folder = out or planned_study(chosen)

    def work(observer: StudyObserver) -> None:
        begin_study(chosen, folder, observer)
        if record is not None:
            record_study(folder, record, observer)

    return study_session(work, folder, as_json=as_json)


def study_session(work: Callable[[StudyObserver], None], folder: Path, *, as_json: bool) -> int:
    """Do `work` with progress and Ctrl-C handled, then show the study; return the exit code."""
    from genesys_engine.engine.cli.progress.study import StudyProgress
    from genesys_engine.engine.cli.session import stopped_note, until_stopped
    from genesys_engine.engine.compare.observer import StudyObserver

    progress = StudyProgress()
    reason = until_stopped(
        progress,
        lambda asked: work(
            StudyObserver(progress.on_plan, progress.on_result, progress.say, asked)
        ),
    )
    show(folder, as_json=as_json)
    return stopped_note(folder, reason) if reason else EXIT_OK


def show(folder: Path, *, as_json: bool) -> None:
    """Print the results of a study so far, and write its page."""
    from genesys_engine.engine.compare.page import write_page
    from genesys_engine.engine.compare.reading import read
    from genesys_engine.engine.compare.summary import findings, tables

    study = read(folder)
    page = write_page(study, folder)
    if as_json:
        print_json(study.to_json())
    else:
        for table in tables(study):
            answer(table.title)
            print_table(table.columns, table.rows)
        for line in findings(study):
            answer(line)
    note(f"The page with plots: {page}")
