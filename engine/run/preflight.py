"""What is cheap to know of an experiment before anything is prepared, fetched or asked.

`genesys-engine validate` says all of it; `run` refuses by the same functions.  Nothing here reaches
a network or a service, and nothing of a task or a candidate runs in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.config import ConfigError, Experiment, Problem
from genesys_engine.engine.corpus.files import Source, open_files
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.engine.corpus.task_data import check_folders
from genesys_engine.engine.llm.backends import check_llm_setup
from genesys_engine.engine.run.assembly import demand_machine, prepare_text, services_meta
from genesys_engine.engine.run.context import Setup
from genesys_engine.engine.run.settings import rung_settings
from genesys_engine.engine.score.noise import widening
from genesys_engine.engine.score.significance import SIGMAS
from genesys_engine.gab.errors import GenesysError, InputError

SMALL_BYTES = 400_000  # of text: prepared in a second or two, and the only amount to be too little
FEW_SEEDS = 3  # below these the noise is hardly known

Check = Callable[[Setup], object]


def demand(setup: Setup) -> None:
    """Refuse an experiment that this machine cannot run, before anything is prepared.

    Raises:
        GenesysError: the one fault there is, or a `ConfigError` with all of them.
    """
    _raise(list(_faults(CHECKS, setup)))


def validate(setup: Setup) -> None:
    """Do the same, and look at what preparing would find: a text that is too small, and the tasks
    in folders of the user's.

    Raises:
        GenesysError: the one fault there is, or a `ConfigError` with all of them.
    """
    _raise(list(_faults((*CHECKS, _amount_of_text, _task_folders), setup)))


def warnings(setup: Setup) -> Iterator[str]:
    """Yield what ends no run, but will disappoint whoever began it."""
    yield from _noise(setup.experiment)
    yield from _readable_text(setup.experiment)
    local = set(setup.experiment.plugins.local)
    for record in setup.host.records:
        if record.status == "broken" and record.origin in local:
            yield record.describe()


def _faults(checks: tuple[Check, ...], setup: Setup) -> Iterator[GenesysError]:
    """Yield what each of the checks raises; a fault that two of them find is reported once."""
    reported: set[str] = set()
    for check in checks:
        try:
            check(setup)
        except GenesysError as error:
            if str(error) not in reported:
                reported.add(str(error))
                yield error


def _raise(faults: list[GenesysError]) -> None:
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ConfigError([as_problem(fault) for fault in faults])


def as_problem(error: GenesysError) -> Problem:
    """Return an error as one of the faults of an experiment."""
    return Problem(error.message, error.where or "experiment", None, error.hint)


def _models(setup: Setup) -> None:
    check_llm_setup(setup.experiment, setup.host.registry)


def _knowledge(setup: Setup) -> None:
    """Open the knowledge base, which would be made where there is none."""
    base = setup.experiment.knowledge.base
    if setup.experiment.llm is None or not base:
        return
    from genesys_engine.plugins.knowledge import table

    if not table.exists(Path(base)):
        raise InputError(
            "no knowledge base in this folder",
            where=base,
            hint=f"create one: genesys-engine knowledge add PATH --base {base}",
        )
    services_meta(setup)


def _text(setup: Setup) -> None:
    find_text(setup.experiment)


def find_text(experiment: Experiment) -> Source | None:
    """Return where the text lies; None where only the hub can say.

    Raises:
        InputError: a file or a folder is not there, or cannot be read.
        EnvironmentProblem: the text has not been fetched.
    """
    options = experiment.corpus
    mixed = [open_files(part.paths, part.text_field) for part in options.parts if part.paths]
    source = None if options.use == "mixture" else open_source(options)
    for each in (*mixed, source):
        for file in getattr(each, "files", ()):
            if not os.access(file, os.R_OK):
                raise InputError(
                    "cannot be read: permission denied",
                    where=str(file),
                    hint="change its permissions, or remove it from corpus.paths",
                )
    return source


def _amount_of_text(setup: Setup) -> None:
    """Prepare a text that may be too small, as a run does and for it."""
    experiment = setup.experiment
    if (source := find_text(experiment)) is None or (size := source.text_bytes()) is None:
        return
    options = experiment.corpus
    used = min(size, options.max_bytes)  # bytes: no fewer than tokens
    rungs = rung_settings(experiment, options.vocab_size)
    trained = max(rung.batch_tokens + rung.context for rung in rungs)
    scored = max(rung.context for rung in rungs)
    too_few = used * (1 - options.heldout) < trained or used * options.heldout < scored
    if size <= SMALL_BYTES or too_few:
        prepare_text(experiment, lambda stage: None)


def _task_folders(setup: Setup) -> None:
    check_folders(setup.experiment.evaluators)


CHECKS: tuple[Check, ...] = (
    demand_machine,
    _models,
    _knowledge,
    _text,
)


def _readable_text(experiment: Experiment) -> Iterator[str]:
    """Yield what of the text every worker may read, the held-out part with it."""
    corpus = experiment.corpus
    mixed = (path for part in corpus.parts for path in part.paths)
    texts = [Path(path).resolve() for path in (*corpus.paths, *mixed)]
    texts.append(cache_folder().resolve())
    for path in experiment.sandbox.readable:
        opened = Path(path).resolve()
        for text in texts:
            if text.is_relative_to(opened) or opened.is_relative_to(text):
                yield (
                    f"sandbox.readable opens {path} to trainings, and with it text that is held out"
                    f" from them ({text}): a design could train on what it is scored with"
                )
                break


def _noise(experiment: Experiment) -> Iterator[str]:
    """Yield what the training seeds of the reference cannot tell."""
    rungs = experiment.ladder.rungs
    if all(rung.noise_seeds == 1 for rung in rungs):
        yield (
            "noise_seeds is 1 at every rung: training noise is not measured, and no difference"
            f" will count as significant; give {rungs[0].scale} {FEW_SEEDS} or more"
        )
    for rung in rungs:
        if 1 < rung.noise_seeds < FEW_SEEDS:
            yield few_seeds(rung.scale, rung.noise_seeds)


def few_seeds(scale: str, seeds: int) -> str:
    """Return what so few training seeds cannot tell, and how many can."""
    more = ", ".join(f"{SIGMAS * widening(count):.1f} with {count}" for count in (FEW_SEEDS, 5))
    return (
        f"{seeds} training seeds of the reference at {scale} hardly tell its noise: 2 sigma will be"
        f" {SIGMAS * widening(seeds):.1f} times their standard deviation ({more}), and any smaller"
        ' gain counts as "within noise"'
    )
