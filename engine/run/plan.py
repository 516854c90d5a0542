"""What an experiment will cost, reported from a few measured steps before anything long starts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from genesys_engine.engine.check.design_check import CHECK
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.engine.common.text import duration
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.evaluate.verification import EVALUATE, TRAIN
from genesys_engine.engine.evaluate.verifier import RungSettings, verification_job
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.facts import number
from genesys_engine.engine.jobs.replies import PaceReply, TrainReply
from genesys_engine.engine.jobs.subjects import serving
from genesys_engine.engine.jobs.worker_jobs import CheckJob, PaceJob, VerifyJob
from genesys_engine.engine.llm.backends import check_llm_setup, open_models
from genesys_engine.engine.run.assembly import (
    build_corpus,
    demand_machine,
    open_executor,
    shown,
)
from genesys_engine.engine.run.context import RunContext, Setup
from genesys_engine.engine.run.settings import finals_trainings
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import Executor, Limits
from genesys_engine.plugins.auditor import judged

PACE = "genesys_engine.plugins.train_job:pace"
STEPS = 3  # optimiser steps per measurement
MOST_TOKENS = 8192  # of such a step: a step of a large scale takes minutes
_UNFITTED = ModelConfig(0, 0, 0, 0)  # the job fits it
MEASURING = "measuring"
# No third seed is started so long after the reference: what came before was mostly the start of the
# workers, and a single seed would leave the estimate without bounds.
ENOUGH_S = 10.0


@dataclass(frozen=True)
class Speed:
    """What was measured of the reference at the lowest rung."""

    tokens_per_s: float
    overhead_s: float  # build the model, evaluate it trained and untrained
    check_s: float


@dataclass(frozen=True)
class RungPlan:
    """The cost of one rung; seconds are of wall time with all workers busy."""

    scale: str
    verifications: int
    tokens_each: int
    tokens: int
    seconds_each: float
    seconds: float


@dataclass(frozen=True, repr=False)
class Plan:
    """The cost of an experiment, if every budget is used in full.

    `seconds` are those of children as fast as the seeds are on average; `shortest_s` and
    `longest_s` are those of children that are all like the fastest or the slowest seed.  Seeds
    in `not_measured` were left out to keep the planning short.
    """

    rungs: tuple[RungPlan, ...]
    checks_s: float
    seconds: float
    relative_speed: Mapping[str, float]  # tokens/s of each measured seed against the reference
    shortest_s: float = 0.0
    longest_s: float = 0.0
    not_measured: tuple[str, ...] = ()
    measured_s: float = 0.0
    llm: Mapping[str, object] | None = None  # caps and prices; None without language models

    def too_slow(self, timeout_s: float) -> list[str]:
        """Return the rungs at which the slowest seed may not end within `timeout_s`."""
        slowest = min(self.relative_speed.values())
        return [rung.scale for rung in self.rungs if rung.seconds_each / slowest > timeout_s]

    def to_json(self) -> dict[str, object]:
        """Return all figures."""
        return asdict(self)

    def __repr__(self) -> str:
        """Return the time that it takes, and how much of it each rung."""
        rungs = ", ".join(f"{rung.scale} {duration(rung.seconds)}" for rung in self.rungs)
        bounds = f"{duration(self.shortest_s)} to {duration(self.longest_s)}"
        return f"<Plan: about {duration(self.seconds)} ({bounds}): {rungs}>"


def plan(setup: Setup, say: Callable[[str], None]) -> Plan:
    """Measure and extrapolate.

    The reference is checked, trained and scored at the lowest rung, and trained for a few steps at
    the others; the other seeds are trained for a few steps at the lowest rung, one at least, and
    as many more as are started within `ENOUGH_S`.
    """
    demand_machine(setup)
    experiment = setup.experiment
    reference, *others = setup.decisions.seeds
    with (
        temporary_folder("plan") as folder,
        open_executor(setup, shown(say)) as executor,  # starts while the corpus is prepared
    ):
        meter = Meter(setup.on(build_corpus(experiment, say)), executor, folder)
        rungs = range(1, len(meter.rungs))
        steps = Steps(say, 1 + len(rungs) + len(others))
        steps.next(MEASURING, f"{reference} at {meter.rungs[0].scale}")
        base = meter.reference(reference)
        paces = [base.tokens_per_s]
        ready = time.monotonic()

        def left_s() -> float:
            """Return the seconds left in which the measurement of other seeds is started."""
            return ENOUGH_S - (time.monotonic() - ready)

        def most_s() -> float:
            """Return the seconds left at most."""
            required = (len(meter.rungs) - len(paces)) * steps.elapsed_s / len(paces)
            return max(left_s(), required, 1.0)

        for rung in rungs:
            steps.next(MEASURING, f"{reference} at {meter.rungs[rung].scale}", most_s())
            paces.append(meter.pace(reference, rung))
        relative = {reference: 1.0}
        for name in others:
            if len(relative) == 1 or left_s() > 0:
                steps.next(MEASURING, f"{name} at {meter.rungs[0].scale}", most_s())
                relative[name] = meter.pace(name, 0) / base.tokens_per_s
    found = _extrapolate(experiment, meter.rungs, base, paces, relative)
    return replace(
        found,
        not_measured=tuple(name for name in others if name not in relative),
        measured_s=steps.elapsed_s,
        llm=_language_models(setup),
    )


def _language_models(setup: Setup) -> Mapping[str, object] | None:
    """Return what is known before a model is asked: the caps, and prices per million tokens.

    How many tokens a design takes depends on the model's own mistakes; that is not guessed.
    """
    experiment, registry = setup.experiment, setup.host.registry
    if experiment.llm is None:
        return None
    check_llm_setup(experiment, registry)
    roles = {}
    models = open_models(experiment.llm, registry, lambda name, reason: None)
    for role, model in models.items():
        price = model.price
        usd = None if price is None else [1e6 * price.input_usd, 1e6 * price.output_usd]
        roles[role] = {"model": model.name, "usd_per_million": usd}
    budget = experiment.budget
    return {"roles": roles, "cap_tokens": budget.llm_tokens, "cap_usd": budget.llm_usd}


def _extrapolate(
    experiment: Experiment,
    settings: Sequence[RungSettings],
    base: Speed,
    paces: Sequence[float],
    relative: Mapping[str, float],
) -> Plan:
    # Children resemble the seeds; the mean time per token is the harmonic mean of the speeds.
    typical = statistics.harmonic_mean(list(relative.values()))  # a view fails for one seed
    workers = min(experiment.run.workers, experiment.run.lookahead)
    rungs = tuple(_rung_plans(experiment, settings, base, paces, typical, workers))
    designs = experiment.budget.designs + len(experiment.population.seeds)
    checks_s = designs * base.check_s / workers

    def everything(speed: float) -> float:
        plans = _rung_plans(experiment, settings, base, paces, speed, workers)
        return checks_s + sum(rung.seconds for rung in plans)

    return Plan(
        rungs,
        checks_s,
        everything(typical),
        relative,
        shortest_s=everything(max(relative.values())),
        longest_s=everything(min(relative.values())),
    )


def _rung_plans(
    experiment: Experiment,
    settings: Sequence[RungSettings],
    base: Speed,
    paces: Sequence[float],
    relative: float,
    workers: int,
) -> Iterator[RungPlan]:
    """Yield the rungs and the finals for children of this speed against the reference's.

    Scoring is a forward pass over the same text at each rung: it takes longer as training does.
    """
    each = 0.0
    for rung, at, pace in zip(experiment.ladder.rungs, settings, paces, strict=True):
        overhead_s = base.overhead_s * base.tokens_per_s / pace
        each = at.tokens / (pace * relative) + overhead_s
        count = rung.verifications
        yield RungPlan(at.scale, count, at.tokens, at.tokens * count, each, each * count / workers)
    if count := finals_trainings(experiment):  # at most: who can no longer win drops out
        at = settings[-1]
        named, tokens = f"{at.scale} finals, at most", at.tokens * count
        yield RungPlan(named, count, at.tokens, tokens, each, each * count / workers)


class Meter:
    """Runs a real check and real, very short trainings."""

    def __init__(
        self,
        context: RunContext,
        executor: Executor,
        folder: Path,
    ) -> None:
        self.rungs = context.rungs
        self._population = context.experiment.population
        self._vocab_size = context.corpus.vocab_size
        self._executor = executor
        self._folder = folder
        self._settings = context.verify

    def reference(self, seed: str) -> Speed:
        """Return what a check and a verification of the reference take at the lowest rung."""
        source = compose(self._population.tree(seed))
        scale = self.rungs[0].scale
        check = CheckJob(source, [scale], self._vocab_size, 0)
        limits = judged(self._settings.limits)
        checked, check_s = self._done(CHECK, to_json(check), f"check-{seed}", limits)
        report = DesignReport.from_json(checked)
        fit = report.measurements.fits[scale]
        job = self._few_steps(verification_job(self._settings, source, fit.model, 0, 0), 0)
        limits = self._settings.limits_for(passed=report.passed)
        value, _ = self._done(TRAIN, to_json(job.training), f"{seed}-trained", limits)
        trained = TrainReply.model_validate(value)
        weights = self._folder / f"{seed}-trained" / str(trained.checkpoint)
        scoring = job.evaluation(weights)
        limits = serving(self._settings.evaluation, scoring.checkpoint)
        _, score_s = self._done(EVALUATE, to_json(scoring), f"{seed}-scored", limits)
        overhead_s = number(trained.facts, "build_s") + score_s
        return Speed(number(trained.facts, "tokens_per_s"), overhead_s, check_s)

    def pace(self, seed: str, rung: int) -> float:
        """Return the tokens per second of a seed's training at a rung."""
        source = compose(self._population.tree(seed))
        job = self._few_steps(verification_job(self._settings, source, _UNFITTED, rung, 0), rung)
        pace = PaceJob(job.training, self.rungs[rung].scale, self._vocab_size)
        limits = self._settings.limits_for(passed=True)
        value, _ = self._done(PACE, pace.to_json(), f"{seed}-{rung}", limits)
        return PaceReply.model_validate(value).tokens_per_s

    def _few_steps(self, job: VerifyJob, rung: int) -> VerifyJob:
        """Return a job of a few steps, of a smaller batch where a whole one would take long."""
        at = self.rungs[rung]
        batch = min(at.batch_tokens, max(MOST_TOKENS // at.context, 1) * at.context)
        return job.with_budget(STEPS * batch, batch)

    def _done(
        self, target: str, job: Mapping[str, object], name: str, limits: Limits
    ) -> tuple[Mapping[str, JsonValue], float]:
        """Return what a job replied, and its seconds."""
        scratch = self._folder / name
        scratch.mkdir()
        outcome = self._executor.submit(target, job, scratch, limits).result()
        if outcome.status != "ok" or outcome.value is None:
            raise EnvironmentProblem(
                f"the measurement {name} failed: {outcome.status}: {outcome.reason}",
                hint="run `genesys-engine doctor`",
            )
        return outcome.value, number(outcome.facts, "wall_s")
