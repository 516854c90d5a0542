"""The parts of a run, made from its experiment: plugins, corpus, workers, gateway, and the loop."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genesys_engine.engine.check.confirmation import Confirmer
from genesys_engine.engine.check.design_check import CheckSettings, DesignCheck
from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.common.machine import versions
from genesys_engine.engine.config import Experiment, load_experiment
from genesys_engine.engine.corpus.task_data import demand_items, prepare_tasks
from genesys_engine.engine.evaluate.noise_cache import NoiseCache, component_code
from genesys_engine.engine.evaluate.verifier import Verifier
from genesys_engine.engine.llm.backends import model_names
from genesys_engine.engine.llm.gateway import Gateway, Notice
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.llm.meters import Caps
from genesys_engine.engine.loop.evolution import Evolution, WallClock
from genesys_engine.engine.loop.outcomes import Outcomes
from genesys_engine.engine.loop.plugin_decisions import Decisions
from genesys_engine.engine.loop.restore import restore
from genesys_engine.engine.loop.time_caps import HourCap, HourCaps
from genesys_engine.engine.propose.checked_operator import checked_operator
from genesys_engine.engine.propose.designer import Designer, WeightedOperator
from genesys_engine.engine.propose.lookup import Lookup
from genesys_engine.engine.run.settings import (
    asks_to_compile,
    decision_settings,
    fitness_measure,
    named_specs,
    rung_settings,
    verify_settings,
)
from genesys_engine.engine.select.checked_selector import CheckedSelector
from genesys_engine.engine.select.ladder import Ladder
from genesys_engine.engine.select.policy import Policy
from genesys_engine.engine.select.state import State
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.train.placement import Trials
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Executor, Isolation, Limits
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.models import resolve_device
from genesys_engine.plugins.sandbox import toolchain
from genesys_engine.plugins.targets import load_target, read_options

CHECK_SECONDS = 120.0  # a check takes about a second; a block that needs this long is useless


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
        compiles = asks_to_compile(experiment) and bool(toolchain.programs())
        return {"required": required, **isolation.to_json(), "compiles": compiles}
    if required != "process":
        raise EnvironmentProblem(
            f"isolation level {required!r} is required, and the executor {section.use!r} does not"
            " report its level",
            where="[sandbox] require",
            hint='use the executor "process", or set require = "process"',
        )
    return None


def demand_machine(host: PluginHost, experiment: Experiment) -> dict[str, Any] | None:
    """See that this machine has what the experiment requires, before anything is prepared.

    Returns what `demand_isolation` does.

    Raises:
        EnvironmentProblem: the isolation is less than what is required.
        InputError: CUDA is asked for, and this machine has none.
    """
    demand_device(host, experiment)
    return demand_isolation(host, experiment)


def demand_device(host: PluginHost, experiment: Experiment) -> None:
    """Ask for the trainer's device as the first training would, hours before it.

    Only CUDA is asked for: it takes seconds to import torch.  Where an executor cannot tell how it
    isolates its jobs they may run elsewhere, and on other devices than this machine has.

    Raises:
        InputError: CUDA is asked for, and this machine has none.
    """
    if experiment.trainer.options.get("device") == "cuda" and _isolation(host, experiment):
        resolve_device("cuda")


def _isolation(host: PluginHost, experiment: Experiment) -> Isolation | None:
    section = experiment.executor
    description = host.registry.get("executor", section.use)
    ask = getattr(load_target(description.target), "isolation", None)
    if ask is None:
        return None
    found: Isolation = ask(read_options(description.options_model(), section.options))
    return found


def build_corpus(experiment: Experiment, progress: Callable[[str], None]) -> dict[str, Any]:
    """Prepare the corpus and the tasks of an experiment, or find them in the cache.

    Raises:
        InputError: the text or a task is not usable, or there is too little text.
        EnvironmentProblem: something cannot be fetched or written.
    """
    tasks = prepare_tasks(experiment.evaluators, progress)
    corpus = prepare_text(experiment, progress)
    return {
        "folder": str(corpus.folder),
        "digest": corpus.digest,
        "source": experiment.corpus.use,
        "train_tokens": len(corpus.train),
        "heldout_tokens": corpus.heldout_tokens,
        "vocab_size": corpus.vocab_size,
        "tasks": tasks,
    }


def demand_text(corpus: Corpus, experiment: Experiment) -> None:
    """See that a corpus holds a batch of every rung; raises `InputError` where it does not."""
    for rung in rung_settings(experiment, corpus.vocab_size):
        corpus.require(max(1, rung.batch_tokens // rung.context), rung.context)


def prepare_text(experiment: Experiment, progress: Callable[[str], None]) -> Corpus:
    """Prepare the text of an experiment, or find it in the cache.

    Raises:
        InputError: it is not usable, or too little for a rung or for a task that is made from it.
        EnvironmentProblem: it cannot be fetched or written.
    """
    from genesys_engine.engine.corpus import prepare

    corpus = Corpus.open(prepare(experiment.corpus, cache_folder() / "corpora", progress))
    demand_text(corpus, experiment)
    demand_items(experiment.evaluators, corpus)
    return corpus


@contextlib.contextmanager
def open_executor(host: PluginHost, experiment: Experiment) -> Iterator[Executor]:
    """Open the executor of an experiment, at the isolation that it demands."""
    section = experiment.executor
    description = host.registry.get("executor", section.use)
    services: dict[str, Any] = {"workers": experiment.run.workers}
    if experiment.sandbox.require != "process":  # refused before, where it is unknown
        services["require"] = experiment.sandbox.require
    executor: Executor = description.create(section.options, **services)
    try:
        yield executor
    finally:
        executor.close()


def open_trials(host: PluginHost, experiment: Experiment, executor: Executor) -> Trials:
    """Return what hands trials to `executor`, or to where a plugin places them."""
    elsewhere = partial(_another_executor, host, experiment)
    return Trials(host, executor, experiment.executor.use, elsewhere)


@contextlib.contextmanager
def _another_executor(
    host: PluginHost, experiment: Experiment, name: str, options: Mapping[str, Any]
) -> Iterator[Executor]:
    """Open an executor that a plugin places trials on; it is held to the same isolation."""
    model = host.registry.get("executor", name).options_model()
    read = read_options(model, options)
    values = {} if read is None else read.model_dump(mode="json")
    section = experiment.executor.model_copy(update={"use": name, "options": values})
    elsewhere = experiment.model_copy(update={"executor": section})
    demand_isolation(host, elsewhere)
    with open_executor(host, elsewhere) as executor:
        yield executor


def open_gateway(
    database: Path,
    experiment: Experiment,
    host: PluginHost,
    tell: Callable[[Notice], None] = lambda notice: None,
    should_stop: Callable[[], str | None] = lambda: None,
    *,
    dollars: float | None = None,
) -> Gateway | None:
    """Return the way to the language models of an experiment, None where it has none.

    Args:
        database: of the run or the study, which holds the ledger.
        dollars: the cap where `[budget]` has none.
    """
    if experiment.llm is None:
        return None
    budget = experiment.budget
    caps = Caps(budget.llm_tokens, dollars if budget.llm_usd is None else budget.llm_usd)
    return Gateway(
        experiment.llm,
        host.registry,
        Ledger(database),
        caps=caps,
        should_stop=should_stop,
        tell=tell,
    )


def services_meta(experiment: Experiment, host: PluginHost) -> dict[str, Any]:
    """Return what a run records of its language models and of what they may look up."""
    if experiment.llm is None:
        return {}
    lookup = Lookup(experiment.knowledge, cache_folder() / "knowledge")
    models = model_names(experiment.llm, host.registry)
    return {"llm": {"models": models}, "knowledge": lookup.facts()}


def noise_cache(corpus: Mapping[str, Any], experiment: Experiment, host: PluginHost) -> NoiseCache:
    """Return the cache of the reference's trainings on a corpus, with an experiment's plugins."""
    used = [("trainer", experiment.trainer.use)]
    used += [("evaluator", entry.use) for entry in experiment.evaluators]
    code = component_code(used, host)
    tasks = sorted(Path(folder).name for folder in corpus.get("tasks", {}).values())
    return NoiseCache(cache_folder() / "noise", corpus["digest"], versions(), code, tasks)


def _operators(host: PluginHost, experiment: Experiment) -> list[WeightedOperator]:
    found = []
    for entry in experiment.operators:
        operator = host.registry.get("operator", entry.use).create(entry.options)
        found.append(
            WeightedOperator(entry.use, checked_operator(operator, entry.use), entry.weight)
        )
    return found


def components(host: PluginHost, experiment: Experiment) -> Iterator[Any]:
    """Yield the descriptions of the plugins that an experiment uses, which a run records."""
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


def check_settings(experiment: Experiment, host: PluginHost, vocab_size: int) -> CheckSettings:
    """Return what the check of a design needs to know of an experiment."""
    section = experiment.executor
    limits = Limits(
        min(CHECK_SECONDS, section.timeout_s),
        int(section.memory_gib * 2**30),
        readable=experiment.sandbox.readable,
    )
    return CheckSettings(
        tuple(rung.scale for rung in rung_settings(experiment, vocab_size)),
        vocab_size,
        experiment.run.seed,
        limits,
        named_specs(host, "checker", experiment.checkers),
    )


def assemble(
    store: Store,
    experiment: Experiment,
    host: PluginHost,
    executor: Executor,
    corpus: Mapping[str, Any],
    bigram: Sequence[Mapping[str, Any]],
    observe: Callable[[Event], None],
    should_stop: Callable[[], str | None],
    noise: NoiseCache | None = None,
) -> Evolution:
    """Return the loop over `store`, its state rebuilt."""
    settings = decision_settings(experiment)
    rungs = rung_settings(experiment, corpus["vocab_size"])
    scales = [rung.scale for rung in rungs]
    measure = fitness_measure(experiment, host)
    state = State(
        Ladder([r.verifications for r in experiment.ladder.rungs], experiment.ladder.release)
    )
    restore(store, state, reference_seed=settings.seeds[0], measure=measure)
    selection = experiment.selection
    selector = host.registry.get("selector", selection.use).create(selection.options)
    policy = Policy(settings, CheckedSelector(selector, selection.use))
    clock = WallClock(store.meta("wall_s", 0.0))
    verify = verify_settings(experiment, host, corpus)
    check = check_settings(experiment, host, corpus["vocab_size"])
    notices: queue.SimpleQueue[Notice] = queue.SimpleQueue()
    designer = Designer(
        _operators(host, experiment),
        DesignCheck(executor, check, store.folder / "scratch"),
        state.known,
        seed=settings.seed,
        tries=experiment.run.tries_per_design,
        seeds=settings.seeds,
        own=experiment.population.own,
        threads=experiment.run.designers,
        gateway=open_gateway(store.path, experiment, host, notices.put),
        lookup=Lookup(experiment.knowledge, cache_folder() / "knowledge", store.folder),
    )
    verifier = Verifier(open_trials(host, experiment, executor), verify, store.folder, noise)
    outcomes = Outcomes(
        store,
        state,
        policy,
        scales=scales,
        measure=measure,
        bigram=bigram,
        workers=experiment.run.workers,
        wall_s=clock,
    )
    budget = experiment.budget
    caps = HourCaps(
        HourCap("wall_hours", budget.wall_hours, clock),
        HourCap("device_hours", budget.device_hours, lambda: outcomes.device_s),
        tell=notices.put,
    )

    def stop() -> str | None:
        return should_stop() or caps.reached()

    corpus_folder, workers = Path(corpus["folder"]), experiment.run.workers
    confirmer = Confirmer(executor, corpus_folder, verify.evaluation, workers)
    parts = (store, state, policy, designer, verifier, confirmer, outcomes)
    asked = Decisions(host)
    return Evolution(*parts, decisions=asked, should_stop=stop, observe=observe, notices=notices)
