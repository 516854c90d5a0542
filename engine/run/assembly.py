"""The parts of a run, made from its experiment: plugins, corpus, workers, gateway, and the loop."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from genesys_engine.engine.check.confirmation import Confirmer
from genesys_engine.engine.check.design_check import DesignCheck
from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.common.machine import versions
from genesys_engine.engine.common.options import PluginOptions
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.config.load import load_source, read_source
from genesys_engine.engine.config.source import Source
from genesys_engine.engine.corpus.prepared import PreparedCorpus, prepared
from genesys_engine.engine.corpus.task_data import demand_items, prepare_tasks
from genesys_engine.engine.evaluate.noise_cache import NoiseCache, component_code
from genesys_engine.engine.evaluate.verifier import Verifier
from genesys_engine.engine.jobs.scores import Scores
from genesys_engine.engine.llm.backends import model_names
from genesys_engine.engine.llm.gateway import Gateway, Notice
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.llm.spending import Caps
from genesys_engine.engine.loop.evolution import Evolution, WallClock
from genesys_engine.engine.loop.node_news import record_of_news
from genesys_engine.engine.loop.outcomes import Outcomes
from genesys_engine.engine.loop.plugin_decisions import Decisions
from genesys_engine.engine.loop.restore import restore
from genesys_engine.engine.loop.time_caps import HourCap, HourCaps
from genesys_engine.engine.propose.checked_operator import checked_operator
from genesys_engine.engine.propose.designer import Designer, WeightedOperator
from genesys_engine.engine.propose.lookup import Lookup
from genesys_engine.engine.run.context import RunContext, Setup
from genesys_engine.engine.run.preload import executor_options
from genesys_engine.engine.run.settings import asks_to_compile, rung_settings
from genesys_engine.engine.select.checked_selector import CheckedSelector
from genesys_engine.engine.select.ladder import Ladder
from genesys_engine.engine.select.policy import Policy
from genesys_engine.engine.select.state import State
from genesys_engine.engine.store.event_types import EventRecord
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.node_events import NODES, TrialPlaced
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.train.placement import Trials
from genesys_engine.engine.views.lines import words_of_node
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Executor, Isolation
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.executors.news import News, Tell, untold
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.models import resolve_device
from genesys_engine.plugins.registry import Description
from genesys_engine.plugins.sandbox import toolchain
from genesys_engine.plugins.targets import load_target, read_options

Notices = queue.SimpleQueue[EventRecord]
"""What goes into the log and decides nothing; any thread may put it there."""


def load(path: Path, sets: Sequence[str]) -> Setup:
    """Return the plugins and the checked experiment of a file."""
    return load_setup(read_source(path, sets))


def load_setup(source: Source) -> Setup:
    """Return the plugins and the checked experiment."""
    experiment = load_source(source)
    host = PluginHost(experiment.plugins.disable, experiment.plugins.local)
    host.require(experiment.plugins.require)
    return Setup(host, experiment)


def demand_isolation(setup: Setup) -> Mapping[str, object] | None:
    """Return what keeps the jobs apart, as a run records it; None where the executor can't say.

    Of an executor whose jobs run on nodes nothing is known yet: each node is asked as it joins, and
    the run records its level then.

    Raises:
        EnvironmentProblem: it is less than the experiment requires.
    """
    experiment = setup.experiment
    section, required = experiment.executor, experiment.sandbox.require
    if on_nodes(setup):
        return {"required": required, NODES: {}}
    isolation = _isolation(setup)
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


def demand_machine(setup: Setup) -> Mapping[str, object] | None:
    """See that this machine has what the experiment requires, before anything is prepared.

    Returns what `demand_isolation` does.

    Raises:
        EnvironmentProblem: the isolation is less than what is required.
        InputError: CUDA is asked for, and this machine has none.
    """
    demand_device(setup)
    return demand_isolation(setup)


def demand_device(setup: Setup) -> None:
    """Ask for the trainer's device as the first training would, hours before it.

    Only CUDA is asked for: it takes seconds to import torch.  Where an executor cannot tell how it
    isolates its jobs they may run elsewhere, and on other devices than this machine has.

    Raises:
        InputError: CUDA is asked for, and this machine has none.
    """
    if setup.experiment.trainer.options.get("device") == "cuda" and _isolation(setup):
        resolve_device("cuda")


def on_nodes(setup: Setup) -> bool:
    """Tell whether the jobs run on nodes, each of which answers for itself."""
    description = setup.host.registry.get("executor", setup.experiment.executor.use)
    return bool(getattr(load_target(description.target), "on_nodes", False))


def _isolation(setup: Setup) -> Isolation | None:
    section = setup.experiment.executor
    description = setup.host.registry.get("executor", section.use)
    ask = getattr(load_target(description.target), "isolation", None)
    if ask is None:
        return None
    found: Isolation = ask(read_options(description.options_model(), section.options))
    return found


def build_corpus(experiment: Experiment, progress: Callable[[str], None]) -> PreparedCorpus:
    """Prepare the corpus and the tasks of an experiment, or find them in the cache.

    Raises:
        InputError: the text or a task is not usable, or there is too little text.
        EnvironmentProblem: something cannot be fetched or written.
    """
    tasks = prepare_tasks(experiment.evaluators, progress)
    corpus = prepare_text(experiment, progress)
    return prepared(corpus, experiment.corpus.use, tasks)


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


def news_into(notices: Notices) -> Tell:
    """Return what takes the news of an executor for the log."""

    def tell(told: News) -> None:
        if (record := record_of_news(told)) is not None:
            notices.put(record)

    return tell


def shown(say: Callable[[str], None]) -> Tell:
    """Return what takes the news of an executor for a command without a log."""

    def tell(told: News) -> None:
        record = record_of_news(told)
        if record is not None and not isinstance(record, TrialPlaced):  # they are too many
            say(words_of_node(record))

    return tell


@contextlib.contextmanager
def open_executor(setup: Setup, tell: Tell = untold) -> Iterator[Executor]:
    """Open the executor of an experiment, at the isolation that it demands.

    Args:
        tell: gets the news of an executor whose jobs run on nodes, from any thread.

    Raises:
        EnvironmentProblem: no node can be had.
        PluginError: what a plugin has its workers import is no list of names.
    """
    section, required = setup.experiment.executor, setup.experiment.sandbox.require
    description = setup.host.registry.get("executor", section.use)
    services: dict[str, object] = {"workers": setup.experiment.run.workers}
    if on_nodes(setup):
        services |= {"require": required, "tell": tell}
    elif required != "process":  # refused before, if the executor does not know it
        services["require"] = required
    executor: Executor = description.create(executor_options(setup), **services)
    try:
        yield executor
    finally:
        executor.close()


def open_trials(setup: Setup, executor: Executor, tell: Tell = untold) -> Trials:
    """Return what hands trials to `executor`, or to where a plugin places them."""
    elsewhere = partial(_another_executor, setup, tell)
    return Trials(setup.host, executor, setup.experiment.executor.use, elsewhere)


@contextlib.contextmanager
def _another_executor(
    setup: Setup, tell: Tell, name: str, options: PluginOptions
) -> Iterator[Executor]:
    """Open an executor that a plugin places trials on; it is held to the same isolation."""
    host, experiment = setup.host, setup.experiment
    model = host.registry.get("executor", name).options_model()
    read = read_options(model, options)
    values = {} if read is None else read.model_dump(mode="json")
    section = experiment.executor.model_copy(update={"use": name, "options": values})
    elsewhere = Setup(host, experiment.model_copy(update={"executor": section}))
    demand_isolation(elsewhere)
    with open_executor(elsewhere, tell) as executor:
        yield executor


def open_gateway(
    database: Path,
    setup: Setup,
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
    experiment = setup.experiment
    if experiment.llm is None:
        return None
    budget = experiment.budget
    caps = Caps(budget.llm_tokens, dollars if budget.llm_usd is None else budget.llm_usd)
    return Gateway(
        experiment.llm,
        setup.host.registry,
        Ledger(database),
        caps=caps,
        should_stop=should_stop,
        tell=tell,
    )


def services_meta(setup: Setup) -> Mapping[str, object]:
    """Return what a run records of its language models and of what they may look up."""
    experiment, registry = setup.experiment, setup.host.registry
    if experiment.llm is None:
        return {}
    lookup = Lookup(experiment.knowledge, cache_folder() / "knowledge")
    models = model_names(experiment.llm, registry)
    return {"llm": {"models": models}, "knowledge": lookup.facts()}


def noise_cache(context: RunContext) -> NoiseCache:
    """Return the cache of the reference's trainings on a corpus, with an experiment's plugins."""
    experiment, corpus = context.experiment, context.corpus
    used = [("trainer", experiment.trainer.use)]
    used += [("evaluator", entry.use) for entry in experiment.evaluators]
    code = component_code(used, context.host)
    tasks = sorted(Path(folder).name for folder in corpus.tasks.values())
    return NoiseCache(cache_folder() / "noise", corpus.digest, versions(), code, tasks)


def _operators(setup: Setup) -> list[WeightedOperator]:
    found = []
    for entry in setup.experiment.operators:
        operator = setup.host.registry.get("operator", entry.use).create(entry.options)
        found.append(
            WeightedOperator(entry.use, checked_operator(operator, entry.use), entry.weight)
        )
    return found


def components(setup: Setup) -> Iterator[Description]:
    """Yield the descriptions of the plugins that an experiment uses, which a run records."""
    experiment, get = setup.experiment, setup.host.registry.get
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


def assemble(
    store: Store,
    context: RunContext,
    executor: Executor,
    bigram: Sequence[Scores],
    observe: Callable[[Event], None],
    should_stop: Callable[[], str | None],
    noise: NoiseCache | None = None,
    notices: Notices | None = None,
    *,
    share_all: bool = False,
    pins: Callable[[], Iterable[int]] = tuple,
) -> Evolution:
    """Return the loop over `store`, its state rebuilt.

    Args:
        noise: trainings that other runs have had, or may use.
        notices: what the executor tells, to which the gateway adds.
        share_all: share every training, not only those of the reference that measure the noise.
        pins: gives each design once that a person wants promoted before others.
    """
    experiment, settings, measure = context.experiment, context.decisions, context.measure
    state = State(
        Ladder([r.verifications for r in experiment.ladder.rungs], experiment.ladder.release)
    )
    restore(store, state, reference_seed=settings.seeds[0], measure=measure)
    selection = experiment.selection
    selector = context.host.registry.get("selector", selection.use).create(selection.options)
    policy = Policy(settings, CheckedSelector(selector, selection.use))
    clock = WallClock(store.meta("wall_s", 0.0))
    notices = notices or queue.SimpleQueue()
    designer = Designer(
        _operators(context),
        DesignCheck(executor, context.check, store.folder / "scratch"),
        state.known,
        seed=settings.seed,
        tries=experiment.run.tries_per_design,
        seeds=settings.seeds,
        own=experiment.population.own,
        threads=experiment.run.designers,
        gateway=open_gateway(store.path, context, notices.put),
        lookup=Lookup(experiment.knowledge, cache_folder() / "knowledge", store.folder),
    )
    trials = open_trials(context, executor, news_into(notices))
    verifier = Verifier(
        trials, context.verify, store.folder, noise, settles=True, share_all=share_all
    )
    outcomes = Outcomes(
        store,
        state,
        policy,
        scales=[rung.scale for rung in context.rungs],
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

    evaluation, workers = context.verify.evaluation, experiment.run.workers
    confirmer = Confirmer(executor, context.folder, evaluation, workers)
    parts = (store, state, policy, designer, verifier, confirmer, outcomes)
    asked = Decisions(context.host)
    return Evolution(
        *parts,
        decisions=asked,
        should_stop=stop,
        observe=observe,
        notices=notices,
        pins=pins,
    )
