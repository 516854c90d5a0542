"""Put a run together from its experiment, start it or take it up again."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_engine import __version__
from genesys_engine.engine import events
from genesys_engine.engine.config import Component, Experiment, load_experiment
from genesys_engine.engine.config.template import toml_value
from genesys_engine.engine.designer import CheckSettings, Designer, WeightedOperator
from genesys_engine.engine.events import Event
from genesys_engine.engine.evolution import Evolution, Stopped, WallClock
from genesys_engine.engine.ladder import Ladder
from genesys_engine.engine.llm.backends import look_over, model_names
from genesys_engine.engine.llm.gateway import Gateway, Notice
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.llm.meters import Caps
from genesys_engine.engine.lookup import Lookup
from genesys_engine.engine.outcomes import Outcomes
from genesys_engine.engine.policy import Policy, Settings
from genesys_engine.engine.restore import restore
from genesys_engine.engine.state import State
from genesys_engine.engine.store import DATABASE, EXPERIMENT, Store
from genesys_engine.engine.trackers import open_trackers
from genesys_engine.engine.verdict import Verdict, judge
from genesys_engine.engine.verifier import RungSettings, Verifier, VerifySettings
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.gab.sandbox.readable import accelerator_devices
from genesys_engine.gab.sandbox.scratch import remove
from genesys_engine.gab.scales import get_scale
from genesys_engine.plugins.api import Executor, Isolation, Limits, Outcome
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.targets import load_target, read_options

CONTROLS = "genesys_engine.plugins.verify_job:controls"
CHECK_SECONDS = 120.0  # a check takes about a second; a block that needs this long is useless
VERSIONED = ("genesys-engine", "torch", "deap", "lm-eval", "datasets", "tokenizers", "numpy")


@dataclass(frozen=True)
class Callbacks:
    """How a run talks to whoever started it; `on_past` gets the log of a run taken up again."""

    on_event: Callable[[Event], None]
    on_past: Callable[[Event], None]
    should_stop: Callable[[], str | None]
    on_stage: Callable[[str], None]


def planned_folder(path: Path, sets: Sequence[str]) -> Path:
    """Return the folder that a run gets when none was asked for."""
    return free_folder(Path("runs"), load_experiment(path, sets).run.name)


def start(path: Path, sets: Sequence[str], folder: Path, callbacks: Callbacks) -> None:
    """Check the experiment, prepare its text, make the run folder and go.

    The folder is made last, so that a fault in the experiment or in the text leaves none behind.

    Raises:
        GenesysError: the experiment, the folder or the environment is not usable.
        Stopped: the run ended early and can be resumed.
        KeyboardInterrupt: it was to stop before there was anything to resume.
    """
    host, experiment = load(path, sets)
    sandbox = demand_isolation(host, experiment)
    look_over(experiment, host.registry)
    Store.refuse_used(folder)
    callbacks.on_stage("preparing the corpus")
    corpus = build_corpus(experiment, callbacks.on_stage)
    if callbacks.should_stop() is not None:
        raise KeyboardInterrupt
    meta = {
        "name": experiment.run.name,
        "sets": list(sets),
        "experiment": experiment.to_json(),
        "experiment_digest": experiment.digest,
        "versions": versions(),
        "machine": machine(),
        "sandbox": sandbox,
        "components": [d.to_json() for d in _components(host, experiment)],
        "corpus": corpus,
        **services_meta(experiment, host),
    }
    with Store.create(folder, meta, path) as store:
        execute(store, experiment, host, callbacks)


def resume(folder: Path, sets: Sequence[str], callbacks: Callbacks) -> None:
    """Take up a run where it was left; `sets` may change what decides nothing.

    Raises:
        InputError: no run there, it is finished, or `sets` would change its decisions.
    """
    with Store.open(folder, write=True) as store:
        # The run's own copy of the file lies elsewhere than the one that [plugins] local was
        # relative to.
        known = store.meta("experiment")
        kept = [*store.meta("sets", [])]
        kept.append(f"plugins.local={toml_value(known['plugins'].get('local', []))}")
        if base := known.get("knowledge", {}).get("base"):
            kept.append(f"knowledge.base={toml_value(base)}")
        host, experiment = load(folder / EXPERIMENT, [*kept, *sets])
        if experiment.digest != store.meta("experiment_digest"):
            raise InputError(
                "the experiment is no longer the one that this run began with",
                where=str(folder / EXPERIMENT),
                hint="resume may change run.workers, run.designers, executor.*, sandbox.*, the"
                " rates and addresses of [llm], and the caps of [budget] beside the designs; start"
                " another run for everything else",
            )
        if store.meta("finished"):
            raise InputError(
                "this run is finished",
                where=str(folder),
                hint=f"its results: `genesys-engine leaderboard {folder}`, or `report {folder}`",
            )
        sandbox = demand_isolation(host, experiment)
        look_over(experiment, host.registry)
        _demand_knowledge(experiment, store)
        with store.transaction():
            store.set_meta("sandbox", sandbox)
        execute(store, experiment, host, callbacks, resumed=store.count("tasks") > 0)


def load(path: Path, sets: Sequence[str]) -> tuple[PluginHost, Experiment]:
    """Return the plugins and the checked experiment."""
    experiment = load_experiment(path, sets)
    host = PluginHost(experiment.plugins.disable, experiment.plugins.local)
    host.require(experiment.plugins.require)
    return host, experiment


def demand_isolation(host: PluginHost, experiment: Experiment) -> dict[str, Any] | None:
    """Return what keeps the jobs apart, as a run records it; None where the executor can't say.

    Raises:
        EnvironmentProblem: it is less than the experiment requires.
    """
    section, required = experiment.executor, experiment.sandbox.require
    isolation = _isolation(host, experiment)
    if isolation is not None:
        isolation.demand(required)
        return {"required": required, **isolation.to_json()}
    if required != "process":
        raise EnvironmentProblem(
            f"isolation level {required!r} is required, and the executor {section.use!r} cannot"
            " tell which level it reaches",
            where="[sandbox] require",
            hint='use the executor "process", or set require = "process"',
        )
    return None


def _isolation(host: PluginHost, experiment: Experiment) -> Isolation | None:
    section = experiment.executor
    description = host.registry.get("executor", section.use)
    ask = getattr(load_target(description.target), "isolation", None)
    if ask is None:
        return None
    found: Isolation = ask(read_options(description.options_model(), section.options))
    return found


def execute(
    store: Store,
    experiment: Experiment,
    host: PluginHost,
    callbacks: Callbacks,
    *,
    resumed: bool = False,
) -> Verdict:
    """Run the loop to its end; an error that leaves the run resumable says so in a note."""
    try:
        return _execute(store, experiment, host, callbacks, resumed=resumed)
    except InputError:  # what was given has to change, which makes it another run
        raise
    except BaseException as error:
        error.add_note(f"nothing is lost; go on with: genesys-engine resume {store.folder}")
        raise
    finally:
        remove(store.folder / "scratch")


def _execute(
    store: Store,
    experiment: Experiment,
    host: PluginHost,
    callbacks: Callbacks,
    *,
    resumed: bool,
) -> Verdict:
    corpus = prepare_corpus(store, experiment, callbacks)
    if not (store.folder / "arrays.zarr").exists():
        store.allocate_curves(sum(rung.verifications for rung in experiment.ladder.rungs))

    def observe(event: Event) -> None:
        callbacks.on_event(event)
        trackers.on_event(event)
        shown = {"id": event.id, "kind": event.kind, "payload": event.payload, "at": event.at}
        for silenced in host.emit(shown):
            callbacks.on_stage(silenced.describe())

    with (
        open_trackers(host, experiment, store, callbacks.on_stage) as trackers,
        open_executor(host, experiment) as executor,
    ):
        callbacks.on_stage("starting workers")
        bigram = _bigram(store, experiment, executor, host, corpus)
        evolution = assemble(
            store, experiment, host, executor, corpus, bigram, observe, callbacks.should_stop
        )
        try:
            for event in store.events():
                callbacks.on_past(event)
            _announce(store, experiment, observe, resumed=resumed)
            evolution.run()
        finally:
            evolution.designer.close()
            with contextlib.suppress(Exception), store.transaction():
                store.set_meta("wall_s", evolution.outcomes.wall_s())
        return _finish(store, experiment, evolution.state, observe)


def assemble(
    store: Store,
    experiment: Experiment,
    host: PluginHost,
    executor: Executor,
    corpus: Mapping[str, Any],
    bigram: Sequence[Mapping[str, Any]],
    observe: Callable[[Event], None],
    should_stop: Callable[[], str | None],
) -> Evolution:
    """Return the loop over `store`, its state rebuilt."""
    settings = decision_settings(experiment)
    rungs = rung_settings(experiment, corpus["vocab_size"])
    scales = [rung.scale for rung in rungs]
    metric = experiment.fitness.metric
    state = State(
        Ladder([r.verifications for r in experiment.ladder.rungs], experiment.ladder.release)
    )
    restore(store, state, reference_seed=settings.seeds[0], metric=metric)
    selection = experiment.selection
    selector = host.registry.get("selector", selection.use).create(selection.options)
    policy = Policy(settings, selector)
    clock = WallClock(store.meta("wall_s", 0.0))
    verify = verify_settings(experiment, host, corpus)
    check = CheckSettings(
        tuple(scales),
        corpus["vocab_size"],
        settings.seed,
        Limits(
            min(CHECK_SECONDS, verify.limits.wall_s),
            verify.limits.memory_bytes,
            readable=experiment.sandbox.readable,
        ),
        experiment.run.tries_per_design,
        tuple(named_payload(host, "checker", experiment.checkers)),
    )
    notices: queue.SimpleQueue[Notice] = queue.SimpleQueue()
    designer = Designer(
        _operators(host, experiment),
        executor,
        state.known,
        check,
        store.folder / "scratch",
        seeds=settings.seeds,
        threads=experiment.run.designers,
        gateway=open_gateway(store.folder, experiment, host, notices.put),
        lookup=Lookup(experiment.knowledge, cache_folder() / "knowledge", store.folder),
    )
    verifier = Verifier(executor, verify, store.folder)
    outcomes = Outcomes(
        store, state, policy, scales=scales, metric=metric, bigram=bigram, wall_s=clock
    )
    cap_s = (experiment.budget.wall_hours or float("inf")) * 3600

    def stop() -> str | None:
        status = {
            "designs": state.counts.accepted,
            "verifications": state.counts.next_verification,
            "best_fitness": None if state.best is None else state.standings[state.best].fitness,
        }
        over = "budget.wall_hours" if clock() >= cap_s else None
        return should_stop() or over or host.decide("genesys_should_stop", status=status)

    parts = (store, state, policy, designer, verifier, outcomes)
    return Evolution(*parts, should_stop=stop, observe=observe, notices=notices)


# --- language models and knowledge -------------------------------------------------------------


def open_gateway(
    folder: Path,
    experiment: Experiment,
    host: PluginHost,
    tell: Callable[[Notice], None] = lambda notice: None,
    should_stop: Callable[[], str | None] = lambda: None,
) -> Gateway | None:
    """Return the way to the language models of an experiment, None where it has none.

    Args:
        folder: of the run, whose database holds the ledger.
    """
    if experiment.llm is None:
        return None
    ledger = Ledger(folder / DATABASE)
    caps = Caps(experiment.budget.llm_tokens, experiment.budget.llm_usd)
    return Gateway(
        experiment.llm, host.registry, ledger, caps=caps, should_stop=should_stop, tell=tell
    )


def services_meta(experiment: Experiment, host: PluginHost) -> dict[str, Any]:
    """Return what a run records of its language models and of what they may look up."""
    if experiment.llm is None:
        return {}
    lookup = Lookup(experiment.knowledge, cache_folder() / "knowledge")
    models = model_names(experiment.llm, host.registry)
    return {"llm": {"models": models}, "knowledge": lookup.facts()}


def _demand_knowledge(experiment: Experiment, store: Store) -> None:
    """Raise `InputError` where an operator would now find something else than when it began."""
    if experiment.llm is None:
        return
    lookup = Lookup(experiment.knowledge, cache_folder() / "knowledge")
    if lookup.facts() != store.meta("knowledge"):
        raise InputError(
            "the knowledge base has changed since the run began",
            where="[knowledge] base",
            hint="restore it, or start another run",
        )


# --- settings from the experiment --------------------------------------------------------------


def decision_settings(experiment: Experiment) -> Settings:
    """Return what the policy reads; the reference comes first among the seeds."""
    population, run = experiment.population, experiment.run
    others = tuple(seed for seed in population.seeds if seed != population.reference)
    return Settings(
        seed=run.seed,
        seeds=(population.reference, *others),
        children=experiment.budget.designs,
        noise_seeds=tuple(rung.noise_seeds for rung in experiment.ladder.rungs),
        lookahead=run.lookahead,
        generational=run.mode == "generational",
        population=population.size,
        offspring=population.offspring,
        parent_weights=population.parents,
        restart=population.restart,
        crossover_after=population.crossover_after,
        scratch_after=population.scratch_after,
    )


def rung_settings(experiment: Experiment, vocab_size: int) -> tuple[RungSettings, ...]:
    """Return the rungs with the budget of each verification in full."""
    found = []
    for rung in experiment.ladder.rungs:
        scale = get_scale(rung.scale)
        default = int(scale.reference_parameters(vocab_size) * scale.tokens_per_parameter)
        found.append(
            RungSettings(
                scale=scale.name,
                context=scale.context,
                tokens=rung.tokens or default,
                batch_tokens=rung.batch_tokens or scale.batch_tokens,
                peak_lr=rung.peak_lr or scale.peak_lr,
            )
        )
    return tuple(found)


def verify_settings(
    experiment: Experiment, host: PluginHost, corpus: Mapping[str, Any]
) -> VerifySettings:
    """Return what every verification of a run has in common."""
    return VerifySettings(
        experiment.run.seed,
        Path(corpus["folder"]),
        rung_settings(experiment, corpus["vocab_size"]),
        _described(host, "trainer", experiment.trainer),
        evaluator_payload(host, experiment),
        _training_limits(experiment, corpus),
    )


def _training_limits(experiment: Experiment, corpus: Mapping[str, Any]) -> Limits:
    """Return what a job may use that reads the corpus and, where there is one, the accelerator."""
    section = experiment.executor
    device = str(experiment.trainer.options.get("device", "auto"))
    return Limits(
        wall_s=section.timeout_s,
        memory_bytes=int(section.memory_gib * 2**30),
        readable=(str(Path(corpus["folder"]).absolute()), *experiment.sandbox.readable),
        accelerator=device != "cpu" and bool(accelerator_devices()),
    )


def evaluator_payload(host: PluginHost, experiment: Experiment) -> list[dict[str, Any]]:
    """Return the evaluators as workers need them."""
    return named_payload(host, "evaluator", experiment.evaluators)


def named_payload(
    host: PluginHost, kind: str, entries: Sequence[Component]
) -> list[dict[str, Any]]:
    """Return components of a kind as workers need them: name, target, options."""
    return [{"name": entry.use, **_described(host, kind, entry)} for entry in entries]


def _described(host: PluginHost, kind: str, component: Any) -> dict[str, Any]:
    target = host.registry.get(kind, component.use).target
    return {"target": target, "options": dict(component.options)}


def _operators(host: PluginHost, experiment: Experiment) -> list[WeightedOperator]:
    return [
        WeightedOperator(
            entry.use,
            host.registry.get("operator", entry.use).create(entry.options),
            entry.weight,
        )
        for entry in experiment.operators
    ]


def _components(host: PluginHost, experiment: Experiment) -> Iterator[Any]:
    get = host.registry.get
    yield get("selector", experiment.selection.use)
    yield get("trainer", experiment.trainer.use)
    yield get("executor", experiment.executor.use)
    yield from (get("evaluator", entry.use) for entry in experiment.evaluators)
    yield from (get("operator", entry.use) for entry in experiment.operators)
    yield from (get("checker", entry.use) for entry in experiment.checkers)
    yield from (get("tracker", entry.use) for entry in experiment.trackers)
    if experiment.llm is not None:
        used = {entry.use for entry in (experiment.llm, *experiment.llm.roles.values())}
        yield from (get("llm_backend", name) for name in sorted(used))


# --- the pieces of a run -----------------------------------------------------------------------


def prepare_corpus(store: Store, experiment: Experiment, callbacks: Callbacks) -> Mapping[str, Any]:
    """Return the facts of the prepared corpus, made again where the cache has lost it."""
    known = store.meta("corpus")
    if Path(known["folder"]).is_dir():
        return dict(known)
    callbacks.on_stage("preparing the corpus")
    facts = build_corpus(experiment, callbacks.on_stage)
    if known["digest"] != facts["digest"]:
        raise InputError(
            "the corpus has changed since the run began",
            where="[corpus]",
            hint="restore the text, or start another run",
        )
    with store.transaction():
        store.set_meta("corpus", facts)
    return facts


def build_corpus(experiment: Experiment, progress: Callable[[str], None]) -> dict[str, Any]:
    """Prepare the corpus of an experiment, or find it in the cache."""
    from genesys_engine.engine.corpus import prepare
    from genesys_engine.plugins.corpus import Corpus

    folder = prepare(experiment.corpus, cache_folder() / "corpora", progress)
    corpus = Corpus.open(folder)
    for rung in rung_settings(experiment, corpus.vocab_size):
        corpus.require(max(1, rung.batch_tokens // rung.context), rung.context)
    return {
        "folder": str(folder),
        "digest": corpus.digest,
        "source": experiment.corpus.use,
        "train_tokens": len(corpus.train),
        "heldout_tokens": len(corpus.heldout),
        "vocab_size": corpus.vocab_size,
    }


@contextlib.contextmanager
def open_executor(host: PluginHost, experiment: Experiment) -> Iterator[Executor]:
    section = experiment.executor
    description = host.registry.get("executor", section.use)
    services: dict[str, Any] = {"workers": experiment.run.workers}
    if experiment.sandbox.require != "process":  # refused before, where it cannot be told
        services["require"] = experiment.sandbox.require
    executor: Executor = description.create(section.options, **services)
    try:
        yield executor
    finally:
        executor.close()


def _bigram(
    store: Store,
    experiment: Experiment,
    executor: Executor,
    host: PluginHost,
    corpus: Mapping[str, Any],
) -> list[Mapping[str, Any]]:
    """Return the bigram model's scores per rung, measured once per context and kept."""
    known: dict[str, Any] = dict(store.meta("bigram", {}))
    rungs = rung_settings(experiment, corpus["vocab_size"])
    pending: dict[str, Future[Outcome]] = {}
    for context in sorted({rung.context for rung in rungs}):
        if str(context) in known:
            continue
        scratch = store.folder / "scratch" / f"bigram-{context}"
        scratch.mkdir(parents=True, exist_ok=True)
        payload = {
            "corpus": corpus["folder"],
            "context": context,
            "evaluators": evaluator_payload(host, experiment),
        }
        limits = _training_limits(experiment, corpus)
        pending[str(context)] = executor.submit(CONTROLS, payload, scratch, limits)
    for context_key, future in pending.items():
        outcome = future.result()
        if outcome.status != "ok" or outcome.value is None:
            raise EnvironmentProblem(
                f"the bigram control could not be measured: {outcome.status}: {outcome.reason}",
                hint="run `genesys-engine doctor`",
            )
        known[context_key] = outcome.value["bigram"]
    with store.transaction():
        store.set_meta("bigram", known)
    return [known[str(rung.context)] for rung in rungs]


def _announce(
    store: Store, experiment: Experiment, observe: Callable[[Event], None], *, resumed: bool
) -> None:
    vocab = store.meta("corpus")["vocab_size"]
    with store.transaction():
        if resumed:
            event = store.add_event(events.RUN_RESUMED, {}, decisive=False)
        elif store.count("events") == 0:
            event = store.add_event(events.RUN_STARTED, started_payload(experiment, vocab))
        else:
            return
    observe(event)


def started_payload(experiment: Experiment, vocab_size: int) -> dict[str, Any]:
    """Return the payload of the event `run.started`."""
    rungs = [
        {
            "scale": settings.scale,
            "verifications": rung.verifications,
            "tokens": settings.tokens,
            "context": settings.context,
            "noise_seeds": rung.noise_seeds,
        }
        for rung, settings in zip(
            experiment.ladder.rungs, rung_settings(experiment, vocab_size), strict=True
        )
    ]
    return {
        "experiment": experiment.digest,
        "seed": experiment.run.seed,
        "rungs": rungs,
        "designs": experiment.budget.designs,
        "reference": experiment.population.reference,
        "mode": experiment.run.mode,
        "selection": experiment.selection.use,
    }


def _finish(
    store: Store, experiment: Experiment, state: State, observe: Callable[[Event], None]
) -> Verdict:
    scales = [rung.scale for rung in experiment.ladder.rungs]
    verdict = judge(state, scales, decision_settings(experiment).seeds)
    with store.transaction():
        event = store.add_event(events.RUN_FINISHED, verdict.to_json())
        store.set_meta("finished", True)
        store.set_meta("sigma", {str(rung): state.sigma(rung) for rung in range(len(scales))})
        store.set_meta("reference", state.reference)
        store.set_meta("verdict", verdict.to_json())
    observe(event)
    return verdict


# --- the machine -------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return the folder for what can be made again; `GENESYS_CACHE` moves it."""
    if chosen := os.environ.get("GENESYS_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("genesys-engine"))


def free_folder(parent: Path, name: str) -> Path:
    """Return `parent/name`, or the first `parent/name-N` that does not exist."""
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def versions() -> dict[str, str]:
    """Return the versions that a run records."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "genesys-engine": __version__}
    for name in VERSIONED[1:]:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> dict[str, Any]:
    """Return the facts of the machine that a run records; none of them names it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": sys.implementation.name,
    }


__all__ = ["Callbacks", "Stopped", "execute", "load", "resume", "start"]
