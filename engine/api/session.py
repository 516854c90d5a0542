"""Runs and studies from Python: started, resumed, planned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.api.experiment import Experiment, Sets, _words, as_experiment
from genesys_engine.engine.api.failures import engine_errors
from genesys_engine.engine.api.runs import Run
from genesys_engine.engine.api.studies import Study
from genesys_engine.engine.common.interrupt import INTERRUPTED
from genesys_engine.engine.compare import session
from genesys_engine.engine.compare.observer import StudyObserver
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.run import lifecycle
from genesys_engine.engine.run.plan import Plan
from genesys_engine.engine.run.plan import plan as measured_plan
from genesys_engine.engine.store.event_types import RunInterrupted, RunStopped
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import (
    EXIT_BUDGET,
    EXIT_INTERRUPTED,
    GenesysError,
    InputError,
)

if TYPE_CHECKING:
    from genesys_engine.engine.store.events import Event

Path_ = str | os.PathLike[str]
Say = Callable[[str], None]


def run(
    experiment: Experiment | Path_ | Mapping[str, object],
    *,
    out: Path_ | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_message: Say | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run:
    """Run an experiment until its budgets are used up, and return the run.

    Blocks until then; trains in worker processes.  Ctrl-C (interrupting the kernel of a notebook)
    stops it at once: what was trained is kept, trainings that were running resume from their
    checkpoints, and `resume` continues.  A cap of the budget or `should_stop` ends it after the
    running trainings; `Run.state` then says "stopped" or "interrupted".

    Args:
        experiment: one that was read, a TOML file, or tables.
        out: folder of the run, which must be new; by default `runs/NAME`, numbered.
        on_event: gets every event of the log as it happens, in this thread; an exception in it
            ends the run, which can be resumed.
        on_message: gets a line about every stage and every warning; by default nothing is said.
        should_stop: asked now and then; True ends the run after the running trainings.

    Raises:
        EngineError: the experiment, the folder or the machine is not usable.
        KeyboardInterrupt: Ctrl-C.
    """
    chosen = as_experiment(experiment)
    folder = planned_run(chosen) if out is None else Path(out)
    start_run(chosen, folder, _callbacks(on_event, on_message, should_stop))
    return Run(folder)


def resume(
    path: Path_,
    sets: Sets = (),
    *,
    on_event: Callable[[Event], None] | None = None,
    on_message: Say | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run:
    """Continue a run from where it stopped, or extend it by `sets`, and return it.

    Nothing that was done is repeated.  The other arguments and the errors are those of `run`.

    Args:
        path: folder of the run.
        sets: what may change: workers, executor, caps, or more of the same, such as
            {"budget.designs": 40}.
    """
    folder = Path(path)
    if StudyStore.exists(folder):
        hint = "ge.compare(EXPERIMENT, out=FOLDER) resumes it"
        raise InputError("this is a study, no run", where=str(folder), hint=hint)
    resume_run(folder, sets, _callbacks(on_event, on_message, should_stop))
    return Run(folder)


def compare(
    experiment: Experiment | Path_ | Mapping[str, object],
    *,
    out: Path_ | None = None,
    on_message: Say | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Study:
    """Compare the arms of an experiment's [compare], and return the study.

    A study that is in the folder already is resumed.  Ctrl-C and `should_stop` end it as they end
    a run; the results so far can be read.

    Args:
        experiment: one that was read, a TOML file, or tables, with `[compare]`.
        out: folder of the study; by default `studies/NAME`.
        on_message: gets a line about every stage; by default nothing is said.
        should_stop: asked now and then; True ends the study.

    Raises:
        EngineError: the experiment, the folder or the machine is not usable.
        KeyboardInterrupt: Ctrl-C.
    """
    chosen = as_experiment(experiment)
    folder = planned_study(chosen) if out is None else Path(out)
    stop = _stop(should_stop)
    say = _silent if on_message is None else on_message
    observer = StudyObserver(lambda plan, results: None, lambda result: None, say, stop)
    with suppress(Stopped):
        begin_study(chosen, folder, observer)
    return Study(folder)


def plan(
    experiment: Experiment | Path_ | Mapping[str, object], *, on_message: Say | None = None
) -> Plan:
    """Measure a few training steps of every seed and estimate the cost of an experiment.

    Prepares the text if it is not cached; takes about half a minute.

    Raises:
        EngineError: the experiment or the machine is not usable.
    """
    setup, _ = as_experiment(experiment)._parts
    with engine_errors():
        return measured_plan(setup, _silent if on_message is None else on_message)


# --- what the command line uses, with callbacks and words of its own -------------------------


def start_run(experiment: Experiment, folder: Path, callbacks: lifecycle.Callbacks) -> str:
    """Start a run; return why it stopped early, "" if it is finished.

    Raises:
        GenesysError, KeyboardInterrupt: as `run` does.
    """
    setup, source = experiment._parts
    return _until_stopped(folder, lambda: lifecycle.start(setup, source, folder, callbacks))


def resume_run(folder: Path, sets: Sets, callbacks: lifecycle.Callbacks) -> str:
    """Resume a run; return why it stopped early, "" if it is finished."""
    words = _words(sets)
    return _until_stopped(folder, lambda: lifecycle.resume(folder, words, callbacks))


def planned_run(experiment: Experiment) -> Path:
    """Return the folder that a run gets when none was asked for."""
    return lifecycle.planned_folder(experiment.config)


def planned_study(experiment: Experiment) -> Path:
    """Return the folder that a study gets when none was asked for."""
    return Path("studies") / experiment.name


def begin_study(experiment: Experiment, folder: Path, observer: StudyObserver) -> None:
    """Start a study, or resume the one that is there.

    Raises:
        Stopped: it stopped early.
    """
    setup, source = experiment._parts
    with engine_errors():
        session.begin(setup, source, folder, observer)


def record_study(folder: Path, path: Path, observer: StudyObserver) -> None:
    """Write the runs of the evolution study in `folder` to `path`, for `[compare] recording`."""
    with engine_errors():
        session.record(folder, path, observer)


def exit_code(reason: str) -> int:
    """Return the documented exit code of what stopped early."""
    return EXIT_INTERRUPTED if reason == INTERRUPTED else EXIT_BUDGET


def _until_stopped(folder: Path, work: Callable[[], None]) -> str:
    """Do `work`; record in the log of the run why it stopped early, and return it."""
    try:
        with engine_errors(), _how_to_resume(folder):
            work()
    except Stopped as stopped:
        reason = str(stopped)
    except KeyboardInterrupt:
        with suppress(GenesysError):  # another process may be at work there
            _record(folder, INTERRUPTED)
        raise
    else:
        return ""
    _record(folder, reason)
    return reason


@contextmanager
def _how_to_resume(folder: Path) -> Iterator[None]:
    """Note on an error that leaves something to resume how Python resumes it."""
    try:
        yield
    except BaseException as error:
        if getattr(error, "__notes__", None):
            error.add_note(f"from Python: ge.resume({str(folder)!r})")
        raise


def _record(folder: Path, reason: str) -> None:
    if not Store.exists(folder):  # it ended before there was anything to resume
        return
    kind = RunInterrupted if reason == INTERRUPTED else RunStopped
    with Store.open(folder, write=True) as store:
        if store.count("events") and not store.meta("finished"):
            with store.transaction():
                store.add_event(kind(reason=reason, exit_code=exit_code(reason)), decisive=False)


def _callbacks(
    on_event: Callable[[Event], None] | None,
    on_message: Say | None,
    should_stop: Callable[[], bool] | None,
) -> lifecycle.Callbacks:
    return lifecycle.Callbacks(
        on_event=_silent if on_event is None else on_event,
        on_past=_silent,
        should_stop=_stop(should_stop),
        on_stage=_silent if on_message is None else on_message,
    )


def _stop(should_stop: Callable[[], bool] | None) -> Callable[[], str | None]:
    if should_stop is None:
        return lambda: None
    return lambda: INTERRUPTED if should_stop() else None


def _silent(what: object) -> None:
    """Say nothing."""
