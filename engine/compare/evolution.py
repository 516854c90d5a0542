"""The evolution study: one whole run, in its own folder, for every arm and seed.

Arms differ in the settings that they override; everything else, caps included, is the same.  Runs
go seed by seed, so that an unfinished study still compares all arms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from genesys_engine.engine.common.text import plural
from genesys_engine.engine.compare.observer import StudyObserver
from genesys_engine.engine.compare.recording import Recording
from genesys_engine.engine.compare.results import FinishedRun, Result
from genesys_engine.engine.compare.series import series_of
from genesys_engine.engine.compare.store import FOLDER, RUNS, StudyStore
from genesys_engine.engine.config import Experiment, load_experiment
from genesys_engine.engine.config.kept import kept_paths, kept_sets
from genesys_engine.engine.config.load import read_source
from genesys_engine.engine.config.schema import ARM_CAPS, CompareArm, CompareSection
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.run import lifecycle
from genesys_engine.engine.run.assembly import load_setup
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import EXPERIMENT, Store
from genesys_engine.gab.errors import InputError

MEASURE: Mapping[str, Callable[[Experiment], object]] = {
    "[corpus]": lambda experiment: experiment.corpus,
    "[trainer]": lambda experiment: experiment.trainer,
    "[[evaluators]]": lambda experiment: experiment.evaluators,
    "[fitness]": lambda experiment: experiment.fitness,
    "[population] reference": lambda experiment: experiment.population.reference,
    "[[ladder.rungs]] scale, tokens, batch_tokens, peak_lr": lambda experiment: [
        (rung.scale, rung.tokens, rung.batch_tokens, rung.peak_lr)
        for rung in experiment.ladder.rungs
    ],
}
"""The settings that define fitness: arms that differ in one measure different quantities."""


def items(section: CompareSection) -> list[str]:
    """Return the names of the seeds in the store."""
    return [f"seed-{seed}" for seed in section.seeds]


def arm_sets(arm: CompareArm, section: CompareSection, item: str) -> list[str]:
    """Return the overrides of an arm for one seed; the study's caps become its budget."""
    sets = [*arm.sets, f"run.seed={item.removeprefix('seed-')}", f"run.name={arm.name}-{item}"]
    caps = {key: getattr(section, cap) for cap, key in ARM_CAPS.items()}
    return sets + [f"budget.{key}={value}" for key, value in caps.items() if value is not None]


def run_arms(store: StudyStore, experiment: Experiment, observer: StudyObserver) -> None:
    """Carry out every unfinished run.

    A run that reaches a cap counts as it stands, because all arms share the cap.

    Raises:
        InputError: an override of an arm is invalid, or makes its fitness a different quantity; no
            run is started.
        Stopped: the study stopped early and can be resumed.
    """
    section = experiment.compare
    work = [(arm, item) for item in items(section) for arm in section.arms]
    loaded = {
        (arm.name, item): _arm_experiment(store, arm_sets(arm, section, item)) for arm, item in work
    }
    _refuse_other_measures([(name, found) for (name, _), found in loaded.items()])
    if section.recording:
        _take_recorded(store, Path(section.recording), observer)
    results = store.results(FinishedRun)
    observer.on_plan([(arm.name, len(section.seeds)) for arm in section.arms], results)
    done = {(result.item, result.arm) for result in results}
    for arm, item in work:
        if (item, arm.name) in done:
            continue
        started = time.monotonic()
        folder = store.folder / RUNS / f"{arm.name}-{item}"
        observer.say(f"run {arm.name}, {item}")
        own, paths = arm_sets(arm, section, item), kept_paths(loaded[arm.name, item])
        sets = [*kept_sets(store.meta), *own, *paths]
        cap = _one_run(
            folder, store.folder / EXPERIMENT, sets, observer, share=section.share_trainings
        )
        with Store.open(folder) as finished:
            made = series_of(finished, experiment.population, cap=cap)
        result = Result(item, arm.name, made, time.monotonic() - started)
        store.add_result(result)
        observer.on_result(result)


def _take_recorded(store: StudyStore, path: Path, observer: StudyObserver) -> None:
    """Add the recorded runs that the study does not have, if they are of this very study."""
    recording = Recording(path)
    if recording.digest != store.meta("digest"):
        observer.say(f"{path} records a study with other settings: all runs are carried out")
        return
    known = {(result.item, result.arm) for result in store.results(FinishedRun)}
    new = [result for result in recording.results if (result.item, result.arm) not in known]
    for result in new:
        store.add_result(result)
    observer.say(f"{plural(len(new), 'run')} taken from {path}")


def _refuse_other_measures(arms: Sequence[tuple[str, Experiment]]) -> None:
    """Raise `InputError` if the fitness of an arm is not the same quantity as that of the first."""
    first, base = arms[0]
    for name, experiment in arms[1:]:
        for where, measure in MEASURE.items():
            if measure(experiment) != measure(base):
                raise InputError(
                    f"the arms {first} and {name} measure fitness differently, so their scores"
                    " cannot be compared",
                    where=where,
                    hint="set it for all arms, outside [[compare.arms]]",
                )


def _arm_experiment(store: StudyStore, own: Sequence[str]) -> Experiment:
    """Return the experiment of an arm; paths in overrides are relative to the study's file."""
    sets = [*kept_sets(store.meta), *own]
    folder = store.meta(FOLDER, None)
    return load_experiment(
        store.folder / EXPERIMENT, sets, folder=None if folder is None else Path(folder)
    )


def _one_run(
    folder: Path, path: Path, sets: Sequence[str], observer: StudyObserver, *, share: bool
) -> str:
    """Start or resume a run, until it finishes or reaches a cap of its budget.

    Returns the name of the cap, "" if it finished.
    """

    def nothing(event: Event) -> None:
        """Events stay in the run's own log."""

    callbacks = lifecycle.Callbacks(
        nothing, nothing, observer.should_stop, observer.say, share_trainings=share
    )
    begun = Store.exists(folder)
    if begun:
        with Store.open(folder) as store:
            if store.meta("finished"):
                return ""
    try:
        if begun:
            lifecycle.resume(folder, (), callbacks)
        else:
            source = read_source(path, sets)
            lifecycle.start(load_setup(source), source, folder, callbacks)
    except Stopped as stopped:
        if not str(stopped).startswith("budget."):
            raise
        return str(stopped)
    return ""
