"""What an experiment will cost, told from a few measured steps before anything long starts."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genesys_engine.engine.assembly import build_corpus, demand_machine, open_executor
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.designer import CHECK
from genesys_engine.engine.llm.backends import look_over, open_models
from genesys_engine.engine.settings import decision_settings, rung_settings, verify_settings
from genesys_engine.engine.verifier import VERIFY, verification_job
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Executor, Limits
from genesys_engine.plugins.host import PluginHost

STEPS = 6  # optimiser steps per measurement


@dataclass(frozen=True)
class Speed:
    """What was measured of one seed at one scale."""

    tokens_per_s: float
    overhead_s: float  # build the model, evaluate it before and after
    check_s: float
    peak_bytes: int  # resident memory of the worker


@dataclass(frozen=True)
class RungPlan:
    """The cost of one rung; seconds are of wall time with all workers busy."""

    scale: str
    verifications: int
    tokens_each: int
    tokens: int
    seconds_each: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The cost of an experiment, if every budget is used in full."""

    rungs: tuple[RungPlan, ...]
    checks_s: float
    seconds: float
    relative_speed: Mapping[str, float]  # tokens/s of each seed against the reference
    llm: Mapping[str, Any] | None = None  # caps and prices; None without language models

    def too_slow(self, timeout_s: float) -> list[str]:
        """Return the rungs at which the slowest seed may not end within `timeout_s`."""
        slowest = min(self.relative_speed.values())
        return [rung.scale for rung in self.rungs if rung.seconds_each / slowest > timeout_s]

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        return asdict(self)


def plan(experiment: Experiment, host: PluginHost, say: Callable[[str], None]) -> Plan:
    """Measure every seed at the lowest rung, the reference at every rung, and extrapolate."""
    demand_machine(host, experiment)
    corpus = build_corpus(experiment, say)
    seeds = decision_settings(experiment).seeds
    with (
        tempfile.TemporaryDirectory(prefix="genesys-plan-") as folder,
        open_executor(host, experiment) as executor,
    ):
        meter = Meter(experiment, host, executor, corpus, Path(folder))
        lowest = {}
        for name in seeds:
            say(f"measuring {name} at {meter.rungs[0].scale}")
            lowest[name] = meter.speed(name, 0)
        reference = [lowest[seeds[0]]]
        for rung in range(1, len(meter.rungs)):
            say(f"measuring {seeds[0]} at {meter.rungs[rung].scale}")
            reference.append(meter.speed(seeds[0], rung))
    told = _extrapolate(experiment, meter, lowest, reference)
    return replace(told, llm=_language_models(experiment, host))


def _language_models(experiment: Experiment, host: PluginHost) -> dict[str, Any] | None:
    """Return what is known before a model is asked: the caps, and prices per million tokens.

    How many tokens a design takes depends on the model's own mistakes; that is not guessed.
    """
    if experiment.llm is None:
        return None
    look_over(experiment, host.registry)
    roles = {}
    models = open_models(experiment.llm, host.registry, lambda name, reason: None)
    for role, model in models.items():
        price = model.price
        usd = None if price is None else [1e6 * price.input_usd, 1e6 * price.output_usd]
        roles[role] = {"model": model.name, "usd_per_million": usd}
    budget = experiment.budget
    return {"roles": roles, "cap_tokens": budget.llm_tokens, "cap_usd": budget.llm_usd}


def _extrapolate(
    experiment: Experiment,
    meter: Meter,
    lowest: Mapping[str, Speed],
    reference: list[Speed],
) -> Plan:
    base = reference[0].tokens_per_s
    relative = {name: speed.tokens_per_s / base for name, speed in lowest.items()}
    # Children resemble the seeds; the mean time per token is the harmonic mean of the speeds.
    typical = statistics.harmonic_mean(list(relative.values()))  # a view fails for one seed
    workers = min(experiment.run.workers, experiment.run.lookahead)
    rungs = []
    for rung, settings, speed in zip(experiment.ladder.rungs, meter.rungs, reference, strict=True):
        each = settings.tokens / (speed.tokens_per_s * typical) + speed.overhead_s
        count = rung.verifications
        total = each * count / workers
        rungs.append(
            RungPlan(settings.scale, count, settings.tokens, settings.tokens * count, each, total)
        )
    ladder = experiment.ladder
    if ladder.finalists:
        top = rungs[-1]
        count = (ladder.finalists + 1) * ladder.finalist_seeds
        total, tokens = top.seconds_each * count / workers, top.tokens_each * count
        named = f"{top.scale} finals"
        rungs.append(RungPlan(named, count, top.tokens_each, tokens, top.seconds_each, total))
    designs = experiment.budget.designs + len(experiment.population.seeds)
    checks_s = designs * statistics.fmean(s.check_s for s in lowest.values()) / workers
    seconds = checks_s + sum(rung.seconds for rung in rungs)
    return Plan(tuple(rungs), checks_s, seconds, relative)


class Meter:
    """Runs real checks and real, very short trainings."""

    def __init__(
        self,
        experiment: Experiment,
        host: PluginHost,
        executor: Executor,
        corpus: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self.rungs = rung_settings(experiment, corpus["vocab_size"])
        self._population = experiment.population
        self._vocab_size = corpus["vocab_size"]
        self._executor = executor
        self._folder = folder
        self._settings = verify_settings(experiment, host, corpus)
        self._limits = self._settings.limits
        self._reports: dict[str, tuple[Mapping[str, Any], float]] = {}

    def speed(self, seed: str, rung: int) -> Speed:
        """Return the speed of a seed design at a rung."""
        source = compose(self._population.tree(seed))
        report, check_s = self._checked(seed, source)
        settings = self.rungs[rung]
        fit = report["measurements"]["fits"][settings.scale]
        job = verification_job(self._settings, source, fit, rung, 0)
        job["budget"]["tokens"] = STEPS * settings.batch_tokens
        limits = self._settings.limits_for(passed=report["passed"])
        facts = self._job(VERIFY, job, f"{seed}-{rung}", limits)["facts"]
        overhead = facts["build_s"] + facts["eval_s"]
        return Speed(facts["tokens_per_s"], overhead, check_s, int(facts["max_rss_bytes"]))

    def _checked(self, seed: str, source: str) -> tuple[Mapping[str, Any], float]:
        if seed not in self._reports:
            payload = {
                "source": source,
                "scales": [rung.scale for rung in self.rungs],
                "vocab_size": self._vocab_size,
                "seed": 0,
            }
            outcome = self._job(CHECK, payload, f"check-{seed}", self._limits)
            self._reports[seed] = outcome, float(outcome["wall_s"])
        return self._reports[seed]

    def _job(self, target: str, payload: Any, name: str, limits: Limits) -> dict[str, Any]:
        scratch = self._folder / name
        scratch.mkdir()
        outcome = self._executor.submit(target, payload, scratch, limits).result()
        if outcome.status != "ok" or outcome.value is None:
            raise EnvironmentProblem(
                f"the measurement {name} failed: {outcome.status}: {outcome.reason}",
                hint="run `genesys-engine doctor`",
            )
        return {**outcome.value, "wall_s": outcome.facts.get("wall_s", 0.0)}
