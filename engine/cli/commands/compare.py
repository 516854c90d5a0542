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
from genesys_engine.gab.errors import EXIT_BUDGET, EXIT_INTERRUPTED, EXIT_OK

if TYPE_CHECKING:
    from genesys_engine.engine.compare.callbacks import Callbacks


@click.command("compare")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Study folder; studies/NAME by default. Resumes an existing study.",
)
@set_option
@json_option
def command(experiment: Path, out: Path | None, sets: tuple[str, ...], as_json: bool) -> int:
    """Compare the arms of EXPERIMENT's [compare], with confidence intervals.

    An implementation study gives every arm the same proposals; best_of_n and sequential may spend
    the tokens that the arm named by `equal_to` spent.  An evolution study runs whole experiments.
    The table shows results with 95 % intervals, and costs; a page with plots is written to the
    folder.  Ctrl-C stops the study; the same command, or `genesys-engine resume`, resumes it.
    """
    from genesys_engine.engine.compare import session
    from genesys_engine.engine.config import load_experiment

    folder = out or Path("studies") / load_experiment(experiment, sets).run.name

    def work(callbacks: Callbacks) -> None:
        session.begin(experiment, sets, folder, callbacks)

    return study_session(work, folder, as_json=as_json)


def study_session(work: Callable[[Callbacks], None], folder: Path, *, as_json: bool) -> int:
    """Do `work` with progress and Ctrl-C handled, then show the study; return the exit code."""
    from genesys_engine.engine.common.interrupt import INTERRUPTED, interruptible
    from genesys_engine.engine.compare.callbacks import Callbacks
    from genesys_engine.engine.compare.progress import StudyProgress
    from genesys_engine.engine.loop.evolution import Stopped

    reason = ""
    with StudyProgress() as progress, interruptible(progress.say) as asked:
        try:
            work(Callbacks(progress.on_plan, progress.on_result, progress.say, asked))
        except Stopped as stopped:
            reason = str(stopped)
    show(folder, as_json=as_json)
    if not reason:
        return EXIT_OK
    note(f"stopped ({reason}); nothing is lost. Resume with: genesys-engine resume {folder}")
    return EXIT_INTERRUPTED if reason == INTERRUPTED else EXIT_BUDGET


def show(folder: Path, *, as_json: bool) -> None:
    """Print the results of a study so far, and write its page."""
    from genesys_engine.engine.compare import session
    from genesys_engine.engine.compare.page import write_page
    from genesys_engine.engine.compare.tables import tables

    data = session.read(folder)
    page = write_page(data, folder)
    if as_json:
        print_json(data)
    else:
        for title, columns, rows in tables(data):
            answer(title)
            print_table(columns, rows)
        for line in findings(data):
            answer(line)
    note(f"The page with plots: {page}")


def findings(data: dict[str, object]) -> list[str]:
    """Return one sentence for each comparison with the first arm."""
    comparisons = data["comparisons"]
    arms = data["arms"]
    assert isinstance(comparisons, list)
    assert isinstance(arms, list)
    first = arms[0]["arm"]
    return [each["sentence"] for each in comparisons if each["first"] == first]
