"""Calibration: the noise of training, measured once and used by every run that it fits.

Sigma is the spread of the reference over training seeds.  The seeds that measure it do not
depend on `run.seed`, so that runs with the same text, rungs, trainer and evaluators ask for the
very same trainings; each is kept in the cache under a digest of all that goes into it, and a run
that asks for it again is given the result.  Whether a result came from the cache changes neither
the decisions of a run nor its event log: it is what the training would have given.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genesys_engine.engine.designer import CHECK, TaskResult
from genesys_engine.engine.events import canonical_json
from genesys_engine.engine.fitness import Measure, Reading, Unmeasured, reference_noise
from genesys_engine.engine.progress.steps import Steps
from genesys_engine.engine.replies import VerifyReply
from genesys_engine.engine.significance import gain_sigmas
from genesys_engine.engine.temporary import temporary_folder
from genesys_engine.engine.views.text import plural
from genesys_engine.gab.checks import judged
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.host import BUILTIN, PluginHost
from genesys_engine.plugins.source_digest import source_digest

if TYPE_CHECKING:
    from genesys_engine.engine.config import Experiment
    from genesys_engine.engine.verifier import Verifier

FEWEST_SEEDS = 2
REPLY_KEYS = ("status", "reason", "scores", "controls", "curve", "tokens", "steps", "parameters")

PROCEDURE = 2
"""How the engine scores what it trains; another one gives other results of the same job."""
COSTS = ("device", "device_s")
"""Facts that tell what a training cost."""


class NoiseCache:
    """Results of trainings of the reference, by the digest of everything that decides them.

    Args:
        components: the code of the trainer and the evaluators (see `component_code`).
        tasks: digests of the tasks' data that do not come from the corpus.
    """

    def __init__(
        self,
        folder: Path,
        corpus_digest: str,
        versions: Mapping[str, str],
        components: Sequence[Mapping[str, str]] = (),
        tasks: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._facts = {
            "procedure": PROCEDURE,
            "corpus": corpus_digest,
            "versions": dict(versions),
            "processor": platform.machine(),
            "components": [dict(component) for component in components],
            "tasks": list(tasks),
        }

    def key(self, job: Mapping[str, Any], *, accelerator: bool) -> str:
        """Return the digest of a job: where its files lie doesn't count, what is in them does."""
        plain = {name: value for name, value in job.items() if name != "corpus"}
        evaluators = [
            {**entry, "options": {k: v for k, v in entry["options"].items() if k != "data"}}
            for entry in job["evaluators"]
        ]
        whole = {**self._facts, "accelerator": accelerator, **plain, "evaluators": evaluators}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()

    def get(self, key: str) -> TaskResult | None:
        """Return a kept result; None where there is none that can be read."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            reply = VerifyReply.model_validate(kept)
        except (OSError, ValueError, ValidationError):
            return None
        if reply.status != "ok" or reply.not_measured() is not None:
            return None
        value = reply.model_dump(exclude={"facts", "checkpoint"})
        return TaskResult({**value, "cause": "", "reason": ""}, {"reused": key, **reply.facts})

    def put(
        self, key: str, result: Mapping[str, Any], facts: Mapping[str, Any] | None = None
    ) -> None:
        """Keep a good result; a cache that cannot be written costs time later, nothing else.

        Args:
            facts: of the machine; what the result cost counts for whoever uses it, so that runs
                at equal cost do not differ by which came first.
        """
        kept = {name: result[name] for name in REPLY_KEYS if name in result}
        kept["facts"] = {name: value for name, value in (facts or {}).items() if name in COSTS}
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8"
            ) as file:
                file.write(canonical_json(kept))
            os.replace(file.name, path)  # noqa: PTH105 - a name, not a path, is at hand
        except OSError:
            return

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def component_code(experiment: Experiment, host: PluginHost) -> list[dict[str, str]]:
    """Return what tells the code of the trainer and the evaluators that are not built in.

    The version of the engine stands for the others.
    """
    used = [("trainer", experiment.trainer.use)]
    used += [("evaluator", entry.use) for entry in experiment.evaluators]
    found = [host.registry.get(kind, name) for kind, name in used]
    return [
        {
            "target": description.target,
            "distribution": description.distribution,
            "version": description.version,
            "source": source_digest(description.target),
        }
        for description in found
        if description.distribution != BUILTIN
    ]


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

    def to_json(self) -> dict[str, Any]:
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


def calibrate(
    experiment: Experiment, host: PluginHost, seeds: int | None, say: Callable[[str], None]
) -> list[RungNoise]:
    """Train the reference at every rung with `seeds` seeds; what is known already costs nothing.

    Without `seeds` it is as many as the runs of this experiment will ask for.  Each result is
    kept when it arrives, so that an interrupted calibration goes on where it was.

    Raises:
        InputError: the reference fails its check or a training, or `seeds` is below two.
    """
    from genesys_engine.engine.assembly import (
        build_corpus,
        demand_machine,
        noise_cache,
        open_executor,
        open_trials,
    )
    from genesys_engine.engine.settings import fitness_measure, verify_settings
    from genesys_engine.engine.verifier import Verifier
    from genesys_engine.gab.compose import compose

    if seeds is not None and seeds < FEWEST_SEEDS:
        raise InputError("the noise takes two seeds or more", where="--seeds")
    demand_machine(host, experiment)
    corpus = build_corpus(experiment, say)
    settings = verify_settings(experiment, host, corpus)
    cache = noise_cache(corpus, experiment, host)
    reference, measure = experiment.population.reference, fitness_measure(experiment, host)
    tree = experiment.population.tree(reference)
    source = compose(tree)
    with (
        temporary_folder("calibrate") as folder,
        open_executor(host, experiment) as executor,
        closing(
            Verifier(open_trials(host, experiment, executor), settings, folder, cache)
        ) as verifier,
    ):
        scales = [rung.scale for rung in settings.rungs]
        say(f"checking {reference}")
        fits = _fits(executor, source, scales, corpus["vocab_size"], folder, settings.limits)
        pending: list[list[Future[TaskResult]]] = []
        for number, (rung, asked) in enumerate(
            zip(settings.rungs, experiment.ladder.rungs, strict=True)
        ):
            count = seeds or max(FEWEST_SEEDS, asked.noise_seeds - 1)
            about = {"design": 0, "digest": tree.digest, "scale": rung.scale, "rung": number}
            pending.append(
                [
                    _start(verifier, source, fits[rung.scale], {**about, "replicate": replicate})
                    for replicate in range(1, count + 1)
                ]
            )
        costs = [rung.tokens * fits[rung.scale]["parameters"] for rung in settings.rungs]
        rungs = list(zip(scales, pending, costs, strict=True))
        # What is known already is done before it is waited for, and takes no time.
        new = sum(cost for _, futures, cost in rungs for future in futures if not future.done())
        say(f"training {reference} with {plural(sum(map(len, pending)), 'seed')}")
        steps = Steps(say, new)
        return [
            _rung_noise(scale, reference, futures, measure, steps, cost)
            for scale, futures, cost in rungs
        ]


def _start(
    verifier: Verifier, source: str, fit: Mapping[str, Any], about: Mapping[str, Any]
) -> Future[TaskResult]:
    rung, replicate = about["rung"], about["replicate"]
    job = verifier.payload(source, fit, rung, replicate)
    number = 1000 * rung + replicate
    # `_fits` has refused a reference that does not pass its check.
    return verifier.start(
        number, job, None, about, parameters=fit["parameters"], shared=True, passed=True
    )


def _fits(
    executor: Any, source: str, scales: list[str], vocab_size: int, folder: Path, limits: Any
) -> Mapping[str, Any]:
    """Return the reference brought to every scale, as its check measures it."""
    scratch = folder / "check"
    scratch.mkdir()
    payload = {"source": source, "scales": scales, "vocab_size": vocab_size, "seed": 0}
    outcome = executor.submit(CHECK, payload, scratch, judged(limits)).result()
    if outcome.status != "ok" or outcome.value is None:
        raise EnvironmentProblem(
            f"the reference could not be checked: {outcome.status}: {outcome.reason}",
            hint="run `genesys-engine doctor`",
        )
    if not outcome.value["passed"]:
        found = outcome.value["findings"][0]
        raise InputError(
            f"the reference does not pass its check: {found['code']}: {found['message']}",
            where="[population] reference",
            hint="name another seed",
        )
    fits: Mapping[str, Any] = outcome.value["measurements"]["fits"]
    return fits


def _rung_noise(
    scale: str,
    reference: str,
    futures: list[Future[TaskResult]],
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
        if done.result["status"] != "ok":
            why = f"{done.result['cause']}: {done.result['reason']}"
            raise _failed(reference, scale, why)
        try:
            readings.append(measure.read(done.result["scores"], done.result["controls"], base=True))
        except Unmeasured as problem:
            raise _failed(reference, scale, str(problem)) from None
        is_known = "reused" in done.facts
        reused += is_known
        steps.done(0 if is_known else cost)
        known = " (known)" if is_known else ""
        steps.tell(f"{reference} at {scale}: seed {number} of {len(futures)}{known}")
        for name, score in done.result["scores"].items():
            values.setdefault(name, []).append(float(score["value"]))
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
