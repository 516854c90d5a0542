"""A run from its beginning to its end: started, resumed, finished with a verdict."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.common.machine import machine, versions
from genesys_engine.engine.common.records import from_json, plain, to_json
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.config.kept import PATHS, kept_paths, kept_sets
from genesys_engine.engine.config.load import read_kept
from genesys_engine.engine.config.source import Source
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.evaluate.verifier import tidy
from genesys_engine.engine.jobs.results import ConfirmResult
from genesys_engine.engine.llm.backends import check_llm_setup
from genesys_engine.engine.propose.lookup import Lookup
from genesys_engine.engine.run import preflight
from genesys_engine.engine.run.assembly import (
    Notices,
    assemble,
    build_corpus,
    components,
    demand_isolation,
    demand_machine,
    demand_text,
    load,
    news_into,
    noise_cache,
    open_executor,
    services_meta,
    shown,
)
from genesys_engine.engine.run.context import RunContext, Setup
from genesys_engine.engine.run.controls import bigram_scores
from genesys_engine.engine.run.extension import (
    Change,
    changes,
    demand_extension,
    demand_room,
    extend,
)
from genesys_engine.engine.run.own_seeds import keep_seeds, kept_seeds
from genesys_engine.engine.run.requests import Requests
from genesys_engine.engine.run.settings import finals_trainings
from genesys_engine.engine.run.trackers import open_trackers
from genesys_engine.engine.score.noise import gain_sigmas
from genesys_engine.engine.score.verdict import Verdict
from genesys_engine.engine.select.state import State
from genesys_engine.engine.store import event_types as events
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import EXPERIMENT, Store
from genesys_engine.engine.views.verdict import VerdictView, verdict_view
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import private_umask
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.executors.news import News, Tell
from genesys_engine.plugins.sandbox.scratch import remove


@dataclass(frozen=True)
class Callbacks:
    """How a run talks to whoever started it; `on_past` gets the log of a run resumed.

    `share_trainings`: the run is one of several that use each other's trainings (see
    `evaluate.noise_cache`); it keeps no weights.
    """

    on_event: Callable[[Event], None]
    on_past: Callable[[Event], None]
    should_stop: Callable[[], str | None]
    on_stage: Callable[[str], None]
    share_trainings: bool = False


def planned_folder(experiment: Experiment) -> Path:
    """Return the folder that a run gets when none was asked for."""
    return free_folder(Path("runs"), experiment.run.name)


def start(setup: Setup, source: Source, folder: Path, callbacks: Callbacks) -> None:
    """Check what an experiment needs, prepare its text, make the run folder and go.

    `source` is what `setup` was read from.  The folder is made last, so that a fault in the
    experiment or in the text leaves none behind; nor does one that an evaluator finds before
    anything is trained.

    Raises:
        GenesysError: the experiment, the folder or the environment is not usable.
        Stopped: the run ended early and can be resumed.
        KeyboardInterrupt: it was to stop before there was anything to resume.
    """
    experiment = setup.experiment
    Store.refuse_used(folder)
    preflight.demand(setup)
    sandbox = demand_isolation(setup)
    for warning in preflight.warnings(setup):
        callbacks.on_stage(f"warning: {warning}")
    stage = _preparing(callbacks)
    stage("preparing the corpus")
    corpus = build_corpus(experiment, stage)
    stage("the corpus is ready")
    meta = {
        "name": experiment.run.name,
        "sets": list(source.sets),
        PATHS: kept_paths(experiment),
        "experiment": experiment.to_json(),
        "experiment_digest": experiment.digest,
        "versions": versions(),
        "machine": machine(),
        "sandbox": sandbox,
        "components": [each.to_json() for each in components(setup)],
        "corpus": to_json(corpus),
        **services_meta(setup),
    }
    with Store.create(folder, meta, source.text) as store:
        try:
            keep_seeds(store, experiment.population)
            execute(store, setup.on(corpus), callbacks)
        except InputError:
            if not store.count("events"):
                store.discard()
            raise


def _preparing(callbacks: Callbacks) -> Callable[[str], None]:
    """Return how the preparation of a corpus tells its stages, and ends between two of them.

    Raises:
        KeyboardInterrupt: it is to stop; what was prepared so far is kept in the cache.
    """

    def stage(text: str) -> None:
        if callbacks.should_stop() is not None:
            raise KeyboardInterrupt
        callbacks.on_stage(text)

    return stage


def resume(folder: Path, sets: Sequence[str], callbacks: Callbacks) -> None:
    """Take up a run where it was left, or extend it; `sets` are kept.

    They may change what decides nothing, and may ask for more of what the run has: designs,
    verifications, further rungs (see `extension`).

    Raises:
        InputError: no run there, it is finished, or `sets` would make it another experiment.
    """
    with Store.open(folder, write=True) as store:
        kept = [*kept_sets(store.meta), *kept_seeds(store)]
        setup = load(folder / EXPERIMENT, [*kept, *sets])
        experiment = setup.experiment
        found = _changes(store, setup)
        if store.meta("finished") and not found:
            raise InputError(
                "the run is finished",
                where=str(folder),
                hint=f"its results: `genesys-engine leaderboard {folder}`, or `report {folder}`;"
                " extend it with --set budget.designs=MORE or ladder.rungs.N.verifications=MORE,"
                f" or by a further [[ladder.rungs]] in {folder / EXPERIMENT}",
            )
        sandbox = demand_machine(setup)
        check_llm_setup(experiment, setup.host.registry)
        _demand_knowledge(experiment, store)
        context = setup.on(prepare_corpus(store, experiment, _preparing(callbacks)))
        with store.transaction():
            if found:
                extend(store, found, run_started(context))
            store.set_meta("sandbox", sandbox)
            store.set_meta("sets", [*store.meta("sets", []), *sets])
            store.set_meta(PATHS, kept_paths(experiment))
            store.set_meta("experiment", experiment.to_json())
            store.set_meta("experiment_digest", experiment.digest)
        execute(store, context, callbacks, resumed=store.count("tasks") > 0)


def _changes(store: Store, setup: Setup) -> list[Change]:
    """Return by what a run is extended; [] where its experiment is as it was.

    Raises:
        InputError: it is another experiment, or the extension has no room.
    """
    experiment = setup.experiment
    if experiment.digest == store.meta("experiment_digest"):
        return []
    where = store.folder / EXPERIMENT
    known = store.meta("experiment")
    before = read_kept(known, where, kept_seeds(store), setup.host.registry)
    if before.digest != store.meta("experiment_digest"):
        began = store.meta("versions", {}).get("genesys-engine", "another version")
        raise InputError(
            f"the experiment of this run has another meaning than in genesys-engine {began},"
            " which started it: defaults have changed since",
            where=str(where),
            hint="resume it with that version, or start another run ([population] from = the folder"
            " of this one takes over its designs)",
        )
    found = changes(before.decisive(), experiment.decisive())
    demand_extension(found, len(known["ladder"]["rungs"]), str(where))
    demand_room(store, experiment.to_json(), found)
    return found


def execute(
    store: Store, context: RunContext, callbacks: Callbacks, *, resumed: bool = False
) -> VerdictView:
    """Run the loop to its end; an error that leaves the run resumable says so in a note."""
    try:
        with private_umask():  # curves, checkpoints, what trackers write: all of it is the run's
            verdict = _execute(store, context, callbacks, resumed=resumed)
    except InputError:  # what was given has to change, which makes it another run
        remove(store.folder / "scratch")
        raise
    except BaseException as error:
        tidy(store.folder / "scratch")  # what was running continues from there
        error.add_note(f"nothing is lost; resume with: genesys-engine resume {store.folder}")
        raise
    remove(store.folder / "scratch")
    return verdict


def _execute(
    store: Store, context: RunContext, callbacks: Callbacks, *, resumed: bool
) -> VerdictView:
    host, experiment = context.host, context.experiment
    if not store.curves.allocated:
        ladder = experiment.ladder
        on_ladder = sum(rung.verifications for rung in ladder.rungs)
        store.curves.allocate(on_ladder + finals_trainings(experiment))

    def observe(event: Event) -> None:
        callbacks.on_event(event)
        trackers.on_event(event)
        shown = {"id": event.id, "kind": event.kind, "payload": event.payload, "at": event.at}
        for silenced in host.emit(shown):
            callbacks.on_stage(silenced.describe())

    news = _News(callbacks.on_stage)
    requests = Requests(store.folder, callbacks.should_stop, callbacks.on_stage)
    with (
        contextlib.closing(requests),
        open_trackers(context, store, callbacks.on_stage) as trackers,
        open_executor(context, news.tell) as executor,
    ):
        callbacks.on_stage("starting workers")
        bigram = bigram_scores(store, context, executor)
        news.to_log_only()
        noise, stop = noise_cache(context), requests.should_stop
        parts = (store, context, executor, bigram, observe, stop, noise, news.notices)
        evolution = assemble(*parts, share_all=callbacks.share_trainings, pins=requests.pins)
        try:
            for event in store.events():
                callbacks.on_past(event)
            _announce(store, context, observe, resumed=resumed)
            evolution.run()
        finally:
            evolution.designer.close()
            evolution.verifier.close()
            evolution.confirmer.close()
            with contextlib.suppress(Exception), store.transaction():
                store.set_meta("wall_s", evolution.outcomes.wall_s())
        return _finish(store, evolution.state, observe)


class _News:
    """What an executor tells; shown at once as well while there is no loop yet to log it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.notices: Notices = queue.SimpleQueue()
        self._log = news_into(self.notices)
        self._show: Tell | None = shown(show)

    def tell(self, told: News) -> None:
        """Take news, from any thread."""
        self._log(told)
        if (show := self._show) is not None:
            show(told)

    def to_log_only(self) -> None:
        """Leave it to the log from now on."""
        self._show = None


def _demand_knowledge(experiment: Experiment, store: Store) -> None:
    """Raise `InputError` where an operator would now find something else than when it began."""
    if experiment.llm is None:
        return
    lookup = Lookup(experiment.knowledge, cache_folder() / "knowledge")
    if lookup.facts() != store.meta("knowledge"):
        raise InputError(
            "the knowledge base has changed since the run started",
            where="[knowledge] base",
            hint="restore it, or start another run",
        )


def prepare_corpus(
    store: Store, experiment: Experiment, stage: Callable[[str], None]
) -> PreparedCorpus:
    """Return the corpus of a run: whole, to the digest, as at its start, and made again where the
    cache has lost it.

    Raises:
        InputError: it is damaged, or made from another text now.
    """
    known = from_json(PreparedCorpus, store.meta("corpus"))
    if all(Path(folder).is_dir() for folder in (known.folder, *known.tasks.values())):
        corpus = Corpus.open(known.folder)
        corpus.check()
        demand_text(corpus, experiment)  # a run may be extended by a rung of a longer context
        return known
    stage("preparing the corpus")
    made = build_corpus(experiment, stage)
    if known.digest != made.digest:
        raise InputError(
            "the corpus has changed since the run started",
            where="[corpus]",
            hint="restore the text, or start another run",
        )
    with store.transaction():
        store.set_meta("corpus", to_json(made))
    return made


def _announce(
    store: Store, context: RunContext, observe: Callable[[Event], None], *, resumed: bool
) -> None:
    with store.transaction():
        if resumed:
            event = store.add_event(events.RunResumed(), decisive=False)
        elif store.count("events") == 0:
            event = store.add_event(run_started(context))
        else:
            return
    observe(event)


def run_started(context: RunContext) -> events.RunStarted:
    """Return the event that a run begins with."""
    experiment = context.experiment
    rungs = zip(experiment.ladder.rungs, context.rungs, strict=True)
    return events.RunStarted(
        experiment=experiment.digest,
        seed=experiment.run.seed,
        rungs=tuple(
            events.RungPlan(
                settings.scale,
                rung.verifications,
                settings.tokens,
                settings.context,
                rung.noise_seeds,
            )
            for rung, settings in rungs
        ),
        designs=experiment.budget.designs,
        reference=experiment.population.reference,
        mode=experiment.run.mode,
        selection=experiment.selection.use,
        finals=events.FinalsPlan(
            experiment.ladder.finalists,
            experiment.ladder.finalist_seeds,
            finals_trainings(experiment),
        ),
    )


def _finish(store: Store, state: State, observe: Callable[[Event], None]) -> VerdictView:
    verdict = verdict_view(store)
    with store.transaction():
        event = store.add_event(verdict.record)
        store.set_meta("finished", True)
        sigmas = {str(rung): sigma for rung, sigma in enumerate(gain_sigmas(state.noise()))}
        store.set_meta("sigma", sigmas)
        store.set_meta("reference", state.reference)
        store.set_meta("verdict", verdict.record.to_json())
        store.set_meta("confirmation", plain(_audit_of_winner(store, verdict.verdict)))
    observe(event)
    return verdict


def _audit_of_winner(store: Store, verdict: Verdict) -> ConfirmResult | None:
    """Return what the audit found at the design that the verdict names."""
    named = verdict.best if verdict.best_child is None else verdict.best_child
    looks = [] if named is None else [row.found for row in store.confirmations(named)]
    return looks[-1] if looks else None


def free_folder(parent: Path, name: str) -> Path:
    """Return `parent/name`, or the first `parent/name-N` that does not exist."""
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder
