"""The bigram control: the first model that a run's evaluators score, before any training.

What they cannot use, and what the experiment relies on and they do not give, ends the run here.
"""

from __future__ import annotations

from concurrent.futures import Future

from pydantic import ValidationError

from genesys_engine.engine.common.records import from_json, plain, to_json
from genesys_engine.engine.config import Experiment
from genesys_engine.engine.evaluate.verifier import RungSettings
from genesys_engine.engine.jobs.replies import ControlsReply
from genesys_engine.engine.jobs.scores import Score, Scores
from genesys_engine.engine.jobs.worker_jobs import ControlsJob
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.score.fitness import Measure, metric_value
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.api import Executor, Outcome

CONTROLS = "genesys_engine.plugins.evaluate_job:controls"


def bigram_scores(store: Store, context: RunContext, executor: Executor) -> list[Scores]:
    """Return the bigram model's scores per rung, measured once for rungs alike, and kept.

    Raises:
        InputError: an evaluator cannot use what it was given, or none gives what is relied on.
        EnvironmentProblem: the job came to no result.
    """
    known = from_json(dict[str, dict[str, Score]], store.meta("bigram", {}))
    rungs = context.rungs
    keys = [_key(rung, context.experiment) for rung in rungs]
    pending: dict[str, Future[Outcome]] = {}
    for rung, key in zip(rungs, keys, strict=True):
        if key in known or key in pending:
            continue
        scratch = store.folder / "scratch" / f"bigram-{len(pending)}"
        scratch.mkdir(parents=True, exist_ok=True)
        evaluators = context.evaluators[rung.scale]
        job = ControlsJob(context.corpus.folder, rung.context, evaluators)
        limits = context.verify.evaluation
        pending[key] = executor.submit(CONTROLS, to_json(job), scratch, limits)
    for key, future in pending.items():
        outcome = future.result()
        if outcome.status != "ok" or outcome.value is None:
            raise EnvironmentProblem(
                f"the bigram control could not be measured: {outcome.status}: {outcome.reason}",
                hint="run `genesys-engine doctor`",
            )
        known[key] = _scores(outcome.value, context.measure)
    with store.transaction():
        store.set_meta("bigram", plain(known))
    return [known[key] for key in keys]


def _key(rung: RungSettings, experiment: Experiment) -> str:
    """Return what tells rungs apart that the control has other scores at: their context and, where
    not all evaluators are asked, which are."""
    which = [i for i, entry in enumerate(experiment.evaluators) if entry.scores_at(rung.scale)]
    every = len(which) == len(experiment.evaluators)
    return str(rung.context) if every else f"{rung.context} {which}"


def _scores(value: object, measure: Measure) -> dict[str, Score]:
    """Return the scores in the reply of a controls job.

    Raises:
        InputError: an evaluator cannot use what it was given, gives something else than scores, or
            none gives what the fitness or the selector is made of.
    """
    try:
        reply = ControlsReply.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(
            f"an evaluator's scores are malformed: {'.'.join(map(str, fault['loc']))}:"
            f" {fault['msg']}",
            where="[[evaluators]]",
            hint="fix its plugin, or remove the evaluator",
        ) from error
    if reply.refused is not None:
        raise InputError(**reply.refused.model_dump())
    scores = reply.bigram
    for metric in (*measure.metrics, *measure.objectives):
        if metric not in reply.not_finite and metric_value(scores, metric) is None:
            raise InputError(
                f"no evaluator reported {metric!r}; they reported"
                f" {', '.join(sorted({*scores, *reply.not_finite}))}",
                where="[fitness] metric, or [selection]",
                hint="use one of these, or add an evaluator that reports it",
            )
    return scores
