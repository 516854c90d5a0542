"""Calibration: the noise of training, measured once and used by every run that it fits.

Sigma is the spread of the reference over training seeds.  The seeds that measure it do not
depend on `run.seed`, so that runs with the same text, rungs, trainer and evaluators ask for the
very same trainings; each is kept in the cache under a digest of all that goes into it, and a run
that asks for it again is given the result.  Whether a result came from the cache changes neither
the decisions of a run nor its event log: it is what the training would have given.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.check.design_check import CHECK
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.engine.common.text import plural
from genesys_engine.engine.jobs.design_report import DesignReport, Fit
from genesys_engine.engine.jobs.worker_jobs import CheckJob, Trial
from genesys_engine.engine.score.fitness import Measure, Reading, Unmeasured, reference_noise
from genesys_engine.engine.score.noise import gain_sigmas
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.auditor import judged

if TYPE_CHECKING:
    from genesys_engine.engine.evaluate.verification import Verified
    from genesys_engine.engine.evaluate.verifier import Verifier
    from genesys_engine.engine.run.context import Setup
    from genesys_engine.plugins.api import Executor, Limits

FEWEST_SEEDS = 2


@dataclass(frozen=True)
class MetricNoise:
    """One metric of the reference at one rung over the training seeds."""

    values: tuple[float, ...]
    mean: float
    stdev: float
    percent: float | None


@dataclass(frozen=True)
class RungNoise:
    """The noise at one rung: training seeds, how many of them were known, and by metric.

    `fitness` is sigma, the noise of the experiment's own fitness: what its runs will compare, in
    percent.
    """

    scale: str
    seeds: int
    reused: int
    metrics: Mapping[str, MetricNoise]
    fitness: float | None

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        metrics = {
            name: {
                "mean": found.mean,
                "stdev": found.stdev,
                "stdev_percent": found.percent,
                "values": list(found.values),
            }
            for name, found in self.metrics.items()
        }
        counts = {"scale": self.scale, "seeds": self.seeds, "reused": self.reused}
        return {**counts, "fitness_sigma_percent": self.fitness, "metrics": metrics}


def calibrate(setup: Setup, seeds: int | None, say: Callable[[str], None]) -> list[RungNoise]:
    """Train the reference at every rung with `seeds` seeds; what is known already costs nothing.

    Without `seeds` it is as many as the runs of this experiment will ask for.  Each result is
    kept when it arrives, so that an interrupted calibration continues where it was.

    Raises:
        InputError: the reference fails its check or a training, or `seeds` is below two.
    """
    from genesys_engine.engine.evaluate.verifier import Verifier
    from genesys_engine.engine.run.assembly import (
        build_corpus,
        demand_machine,
        noise_cache,
        open_executor,
        open_trials,
        shown,
    )
    from genesys_engine.gab.compose import compose

    if seeds is not None and seeds < FEWEST_SEEDS:
        raise InputError("measuring noise takes at least two seeds", where="--seeds")
    demand_machine(setup)
    experiment = setup.experiment
    context = setup.on(build_corpus(experiment, say))
    settings, cache = context.verify, noise_cache(context)
    reference, measure = experiment.population.reference, context.measure
    tree = experiment.population.tree(reference)
    source = compose(tree)
    with (
        temporary_folder("calibrate") as folder,
        open_executor(setup, shown(say)) as executor,
        closing(Verifier(open_trials(setup, executor), settings, folder, cache)) as verifier,
    ):
        scales = [rung.scale for rung in settings.rungs]
        say(f"checking {reference}")
        check = CheckJob(source, scales, context.corpus.vocab_size, 0)
        fits = _fits(executor, check, folder, settings.limits)
        pending: list[list[Future[Verified]]] = []
        for number, (rung, asked) in enumerate(
            zip(settings.rungs, experiment.ladder.rungs, strict=True)
        ):
            count = seeds or max(FEWEST_SEEDS, asked.noise_seeds - 1)
            first = Trial(0, tree.digest, number, rung.scale, 0)
            pending.append(
                [
                    _start(verifier, source, fits[rung.scale], replace(first, replicate=replicate))
                    for replicate in range(1, count + 1)
                ]
            )
        costs = [rung.tokens * fits[rung.scale].parameters for rung in settings.rungs]
        rungs = list(zip(scales, pending, costs, strict=True))
        # What is known already is done before it is waited for, and takes no time.
        new = sum(cost for _, futures, cost in rungs for future in futures if not future.done())
        say(f"training {reference} with {plural(sum(map(len, pending)), 'seed')}")
        steps = Steps(say, new)
        return [
            _rung_noise(scale, reference, futures, measure, steps, cost)
            for scale, futures, cost in rungs
        ]


def _start(verifier: Verifier, source: str, fit: Fit, trial: Trial) -> Future[Verified]:
    job = verifier.job(source, fit.model, trial.rung, trial.replicate)
    number = 1000 * trial.rung + trial.replicate
    # `_fits` has refused a reference that does not pass its check.
    return verifier.start(
        number, job, None, trial, parameters=fit.parameters, shared=True, passed=True
    )


def _fits(executor: Executor, job: CheckJob, folder: Path, limits: Limits) -> Mapping[str, Fit]:
    """Return the reference brought to every scale, as its check measures it."""
    scratch = folder / "check"
    scratch.mkdir()
    outcome = executor.submit(CHECK, to_json(job), scratch, judged(limits)).result()
    if outcome.status != "ok" or outcome.value is None:
        raise EnvironmentProblem(
            f"the reference could not be checked: {outcome.status}: {outcome.reason}",
            hint="run `genesys-engine doctor`",
        )
    report = DesignReport.read(outcome.value, job.scales)
    if not report.passed:
        found = report.findings[0]
        raise InputError(
            f"the reference does not pass its check: {found.code}: {found.message}",
            where="[population] reference",
            hint="name another seed",
        )
    return report.measurements.fits


def _rung_noise(
    scale: str,
    reference: str,
    futures: list[Future[Verified]],
    measure: Measure,
    steps: Steps,
    cost: float,
) -> RungNoise:
    """Wait for the trainings at a rung, each of which costs `cost` unless it is known."""
    values: dict[str, list[float]] = {}
    readings: list[Reading] = []
    reused = 0
    for number, future in enumerate(futures, 1):
        done = future.result()
        if not done.result.ok:
            raise _failed(reference, scale, f"{done.result.cause}: {done.result.reason}")
        try:
            readings.append(measure.read(done.result.scores, done.result.controls, base=True))
        except Unmeasured as problem:
            raise _failed(reference, scale, str(problem)) from None
        is_known = "reused" in done.facts
        reused += is_known
        steps.done(0 if is_known else cost)
        known = " (known)" if is_known else ""
        steps.tell(f"{reference} at {scale}: seed {number} of {len(futures)}{known}")
        for name, score in done.result.scores.items():
            values.setdefault(name, []).append(score.value)
    metrics = {
        name: MetricNoise(tuple(v), statistics.fmean(v), statistics.stdev(v), _percent(v))
        for name, v in sorted(values.items())
        if len(v) == len(futures)
    }
    (sigma,) = gain_sigmas(reference_noise([readings]))
    return RungNoise(scale, len(futures), reused, metrics, sigma)


def _failed(reference: str, scale: str, why: str) -> InputError:
    return InputError(
        f"the reference {reference} failed at {scale}: {why}",
        where=f"[[ladder.rungs]] {scale}",
        hint="fix the budget of the rung, or name another reference",
    )


def _percent(values: list[float]) -> float | None:
    """Return the standard deviation in percent of the mean, None where the mean is 0."""
    mean = abs(statistics.fmean(values))
    return 100.0 * statistics.stdev(values) / mean if mean else None
