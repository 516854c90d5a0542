"""From an experiment's [compare] to a finished study: starting one and resuming it."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from genesys_engine.engine.check.design_check import DesignCheck
from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.machine import machine, versions
from genesys_engine.engine.common.text import plural
from genesys_engine.engine.compare.check_reports import CheckReports
from genesys_engine.engine.compare.checking import StudyCheck
from genesys_engine.engine.compare.evolution import run_arms
from genesys_engine.engine.compare.implementation import ImplementationStudy, open_arms, plan_jobs
from genesys_engine.engine.compare.observer import StudyObserver
from genesys_engine.engine.compare.proposals import StudyProposal, read_proposals, study_proposal
from genesys_engine.engine.compare.recording import record as write_recording
from genesys_engine.engine.compare.results import Implemented
from genesys_engine.engine.compare.store import FOLDER, RUNS, StudyStore
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.config.kept import PATHS, kept_paths, kept_sets
from genesys_engine.engine.config.load import read_source
from genesys_engine.engine.config.schema import ARM_CAPS
from genesys_engine.engine.config.source import Source
from genesys_engine.engine.llm.gateway import Gateway, Notice
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.run.assembly import (
    demand_isolation,
    load_setup,
    open_executor,
    open_gateway,
)
from genesys_engine.engine.run.context import Setup, check_settings
from genesys_engine.engine.store.run_store import EXPERIMENT
from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.plugins.sandbox.scratch import remove

GRAMMAR = "grammar"
"""The back end without a language model."""


def begin(setup: Setup, source: Source, folder: Path, observer: StudyObserver) -> None:
    """Start the study of an experiment in `folder`, or resume the one that is there.

    `source` is what `setup` was read from.

    Raises:
        GenesysError: the experiment, the folder or the environment is unusable.
        Stopped: the study stopped early and can be resumed.
    """
    experiment = setup.experiment
    _demand_arms(experiment, source.name)
    if StudyStore.exists(folder):
        with StudyStore.open(folder, write=True) as store:
            _demand_same(store, experiment)
            with _noted(folder):
                _execute(store, setup, observer)
        return
    proposals: tuple[StudyProposal, ...] = ()
    if experiment.compare.study == "implementation":
        open_arms(experiment.compare)  # a fault in their options leaves no folder behind
        proposals = read_proposals(Path(experiment.compare.proposals))
    meta = {
        "name": experiment.run.name,
        "sets": list(source.sets),
        PATHS: kept_paths(experiment),
        FOLDER: str(source.folder.resolve()),
        "experiment": experiment.to_json(),
        "digest": study_digest(experiment),
        "versions": versions(),
        "machine": machine(),
        "simulation": _is_simulation(experiment),
        "proposals": [{"name": each.name, **each.to_json()} for each in proposals],
    }
    with (
        StudyStore.create(folder, meta, source.text) as store,
        _nothing_left(store),
        _noted(folder),
    ):
        _execute(store, setup, observer)


def resume(folder: Path, sets: Sequence[str], observer: StudyObserver) -> None:
    """Resume a study; `sets` may change settings that affect no result, and the arms' caps."""
    with StudyStore.open(folder) as store:
        kept = kept_sets(store.meta)
    source = read_source(folder / EXPERIMENT, [*kept, *sets])
    begin(load_setup(source), source, folder, observer)


def record(folder: Path, path: Path, observer: StudyObserver) -> None:
    """Write the recording of the evolution study in `folder` to `path`.

    Raises:
        InputError: it is a study of another kind, or the file cannot be written.
    """
    with StudyStore.open(folder) as store:
        if store.meta("experiment")["compare"]["study"] != "evolution":
            hint = "replies of language models are recorded by `genesys-engine llm record`"
            raise InputError("only evolution studies are recorded", where="--record", hint=hint)
        written = write_recording(store, path)
    observer.say(f"{plural(written, 'run')} recorded in {path}")


def stored_proposals(store: StudyStore) -> tuple[StudyProposal, ...]:
    """Return the proposals with which a study started."""
    return tuple(
        study_proposal(entry["name"], {k: v for k, v in entry.items() if k != "name"})
        for entry in store.meta("proposals")
    )


def study_digest(experiment: Experiment) -> str:
    """Return the SHA-256 of everything that can change a result of a study.

    It excludes settings that affect no result, the number of proposals of an arm, and the caps of
    the arms of an implementation study, none of which changes the results that exist.
    """
    compare = experiment.compare
    arms = [arm.model_dump(mode="json", exclude={"proposals"}) for arm in compare.arms]
    left_out = {"arms", "checks", "proposals", "recording", "seeds", *ARM_CAPS}
    if not compare.share_trainings:  # a study keeps the digest it had
        left_out.add("share_trainings")
    kept = compare.model_dump(mode="json", exclude=left_out)
    if compare.checks:  # a path counts by its last part
        kept["checks"] = Path(compare.checks).name
    data: dict[str, object] = {"experiment": experiment.digest, "compare": {**kept, "arms": arms}}
    if compare.study == "evolution":  # a run that a cap ended counts as it stands
        data["caps"] = [compare.model_dump(include=set(ARM_CAPS)), experiment.budget.model_dump()]
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def _demand_arms(experiment: Experiment, name: str) -> None:
    if len(experiment.compare.arms) < 2:
        hint = "write two or more tables [[compare.arms]]; docs/gp-vs-direct.md has an example"
        raise InputError("[compare] has nothing to compare", where=name, hint=hint)
    if experiment.compare.study == "implementation" and experiment.llm is None:
        hint = 'write [llm] with `use`, such as "litellm", "llama_cpp", "replay" or "grammar"'
        raise InputError("an implementation study asks language models", where=name, hint=hint)
    if experiment.compare.study == "implementation" and not experiment.compare.proposals:
        hint = "name a folder of files; experiments/catalogue/draw.py draws some"
        raise InputError("[compare] has no `proposals`", where=name, hint=hint)


def _demand_same(store: StudyStore, experiment: Experiment) -> None:
    if study_digest(experiment) != store.meta("digest"):
        raise InputError(
            "the experiment has changed since this study started",
            where=str(store.folder),
            hint="use another --out; only workers, designers, executor, sandbox, the numbers of"
            " proposals and seeds, and the caps of an implementation study may change",
        )
    store.keep("experiment", experiment.to_json())


def _is_simulation(experiment: Experiment) -> bool:
    """Return whether no role asks a language model."""
    section = experiment.llm
    if section is None:
        return False
    return section.use == GRAMMAR and all(role.use == GRAMMAR for role in section.roles.values())


@contextmanager
def _nothing_left(store: StudyStore) -> Iterator[None]:
    """Discard a study that is refused before it starts."""
    try:
        yield
    except GenesysError:
        with contextlib.closing(Ledger(store.path, write=False)) as ledger:
            begun = store.any_result() or (store.folder / RUNS).exists() or ledger.usage()
        if not begun:
            store.discard()
        raise


@contextmanager
def _noted(folder: Path) -> Iterator[None]:
    """Add to errors that the study can be resumed."""
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        error.add_note(f"nothing is lost; resume with: genesys-engine resume {folder}")
        raise
    finally:
        remove(folder / "scratch")


def _execute(store: StudyStore, setup: Setup, observer: StudyObserver) -> None:
    experiment = setup.experiment
    if experiment.compare.study == "evolution":
        run_arms(store, experiment, observer)
    else:
        _implement(store, setup, observer)


def _implement(store: StudyStore, setup: Setup, observer: StudyObserver) -> None:
    demand_isolation(setup)
    experiment = setup.experiment
    proposals, section = stored_proposals(store), experiment.compare
    planned = Counter(job.arm.name for job in plan_jobs(section, proposals))
    observer.on_plan(
        [(arm.name, planned[arm.name]) for arm in section.arms], store.results(Implemented)
    )
    with (
        _open_gateway(store, setup, observer) as gateway,
        open_executor(setup) as executor,
    ):
        settings = check_settings(setup, experiment.corpus.vocab_size)
        check = StudyCheck(
            DesignCheck(executor, settings, store.folder / "scratch"),
            CheckReports(store.folder, Path(section.checks) if section.checks else None),
        )
        ImplementationStudy(
            store,
            section,
            proposals,
            seed=experiment.run.seed,
            threads=experiment.run.designers,
            clients=gateway.client,
            check=check,
            should_stop=observer.should_stop,
            interrupt=gateway.stop,
            tell=observer.on_result,
        ).run()


@contextmanager
def _open_gateway(store: StudyStore, setup: Setup, observer: StudyObserver) -> Iterator[Gateway]:
    """Yield the gateway to the language models; its record is in the study's file."""

    def tell(notice: Notice) -> None:
        facts = ", ".join(f"{key} {value}" for key, value in notice.to_json().items())
        observer.say(f"language models: {notice.KIND.partition('.')[2]}: {facts}")

    # A cap of the arms in dollars needs prices, though the whole may have no cap.
    dollars = None if setup.experiment.compare.usd is None else math.inf
    gateway = open_gateway(store.path, setup, tell, observer.should_stop, dollars=dollars)
    assert gateway is not None, "an implementation study without [llm] was refused"
    with contextlib.closing(gateway):
        gateway.prepare()
        yield gateway
