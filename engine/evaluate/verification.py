"""One verification on its way: a training job, and then an evaluation job.

What a design is scored with is in no process that trains (`plugins/train_job.py`); the evaluation
(`plugins/evaluate_job.py`) gets the checkpoint.  Here the one follows the other, and what both
report becomes one result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from genesys_engine.engine.jobs.replies import EvaluateReply, TrainReply
from genesys_engine.engine.jobs.results import failure, scrub, so_far
from genesys_engine.engine.jobs.subjects import serving
from genesys_engine.engine.jobs.task import InfrastructureFailure, TaskResult, refuse_infrastructure
from genesys_engine.engine.train.trained import TRAINED, Trained, keep_trained, kept_training
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.sandbox.scratch import remove, take_tensors

if TYPE_CHECKING:
    from genesys_engine.engine.train.placement import Placed

TRAIN = "genesys_engine.plugins.train_job:train"
EVALUATE = "genesys_engine.plugins.evaluate_job:evaluate"
DEVICE_S = "device_s"  # fact of a verification: seconds it kept its device, or all of them
ADDED = ("wall_s", "cpu_s", "build_s", DEVICE_S)  # facts that both jobs have
Reply = TypeVar("Reply", bound=BaseModel)
EVALUATES = ("source", "model", "seed", "corpus", "evaluators")  # keys that an evaluation needs


def training_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the training job of a verification is asked: nothing of what it is scored with.

    Args:
        job: see `verifier.verification_job`.
    """
    return {key: value for key, value in job.items() if key != "evaluators"}


def evaluation_job(job: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """Return what the evaluation job of a verification is asked, of the weights in a file.

    Without a file it will fail; only an executor that answers from a record needs none.
    """
    return {
        **{key: job[key] for key in EVALUATES},
        "device": job["trainer"]["options"].get("device", "auto"),
        "batch_tokens": job["budget"]["batch_tokens"],
        "checkpoint": None if weights is None else str(weights.absolute()),
    }


class TrialLost(InfrastructureFailure):
    """A verification that came to no result through no fault of its design, and what it cost."""

    def __init__(self, reason: str, device_s: float) -> None:
        super().__init__(reason)
        self.device_s = device_s


class Result(Future[TaskResult]):
    """What a verification gives; taking it back takes its job back, if that has not started."""

    def __init__(self) -> None:
        super().__init__()
        self.job: Future[Outcome] | None = None

    def cancel(self) -> bool:
        """Take it back; False where a job of it runs or has run."""
        return self.job is not None and self.job.cancel()


@dataclass(frozen=True)
class Places:
    """The folders of a verification: of its training job, of its evaluation job, and of what the
    first left for the second."""

    training: Path

    @property
    def evaluation(self) -> Path:
        """Scratch folder of the evaluation job."""
        return self.training.with_name(f"{self.training.name}-evaluation")

    @property
    def trained(self) -> Path:
        """Where the engine keeps a training until it is evaluated; no job writes there."""
        return self.training.with_name(f"{self.training.name}{TRAINED}")

    def remove(self) -> None:
        """Remove them all: the verification is over."""
        for folder in (self.training, self.evaluation, self.trained):
            remove(folder)


@dataclass(frozen=True)
class Verification:
    """What both jobs need; `run` begins.

    `limits` are those of the training, `evaluation` those of the evaluation.  `ended` gets the
    result that both make, once each, and `lost` what neither is to blame for.  `parameters` is how
    many the check has counted, if it is known.
    """

    job: Mapping[str, Any]
    placed: Placed
    places: Places
    limits: Limits
    evaluation: Limits
    ended: Callable[[TaskResult, Trained | None], None]
    lost: Callable[[BaseException], None]
    parameters: int | None = None

    def run(self, result: Result) -> None:
        """Train, or resume the training that an earlier session has kept; then evaluate."""
        known = kept_training(self.places.trained, self.job)
        if known is not None:
            self._evaluate(result, known)
            return
        scratch = self.places.training
        scratch.mkdir(parents=True, exist_ok=True)
        result.job = self.placed.submit(TRAIN, training_job(self.job), scratch, self.limits)

        def then(outcome: Outcome) -> None:
            read = self._read_training(outcome)
            if isinstance(read, TaskResult):
                self.ended(read, None)
            else:
                self._evaluate(result, read)

        result.job.add_done_callback(self._guarded(then))

    def _evaluate(self, result: Result, trained: Trained) -> None:
        job = evaluation_job(self.job, trained.weights)
        scratch = self.places.evaluation
        remove(scratch)
        scratch.mkdir(parents=True)
        limits = serving(self.evaluation, job["checkpoint"])
        try:
            result.job = self.placed.submit(EVALUATE, job, scratch, limits)
        except RuntimeError as error:  # closed while the training ended
            raise TrialLost(str(error), 0.0) from error

        def then(outcome: Outcome) -> None:
            self.ended(self._read_evaluation(outcome, trained), trained)

        result.job.add_done_callback(self._guarded(then))

    def _guarded(self, then: Callable[[Outcome], None]) -> Callable[[Future[Outcome]], None]:
        """Hand what goes wrong to the loop, which decides."""

        def done(job: Future[Outcome]) -> None:
            try:
                then(job.result())
            except BaseException as error:
                self.lost(error)

        return done

    # --- reading -----------------------------------------------------------------------------

    def _read_training(self, outcome: Outcome) -> TaskResult | Trained:
        """Return the kept training, or the result of one that failed."""
        processes = int(self.job["trainer"]["options"].get("processes", 1))
        scratch = self.places.training
        read = self._reply(outcome, TrainReply, scratch, processes, so_far(scratch))
        if isinstance(read, TaskResult):
            return read
        reply, facts = read
        if reply.status != "ok":
            details = {**reply.model_dump(), **({} if reply.curve else so_far(scratch))}
            return TaskResult(failure("training", scrub(reply.reason, scratch), details), facts)
        if (problem := reply.not_measured()) is not None:
            return TaskResult(failure("not_finite", problem), facts)
        weights = None if reply.checkpoint is None else scratch / Path(reply.checkpoint).name
        if weights is not None:
            try:
                take_tensors(weights, self.limits.file_bytes)
            except InputError as error:
                reason, details = f"its checkpoint {error.message}", reply.model_dump()
                return TaskResult(failure("bad_reply", reason, details), facts)
        try:
            return keep_trained(self.places.trained, self.job, reply, facts, weights)
        except OSError as error:
            raise TrialLost(f"its weights cannot be saved: {error}", facts[DEVICE_S]) from error

    def _read_evaluation(self, outcome: Outcome, trained: Trained) -> TaskResult:
        """Return the result of both jobs."""
        scratch = self.places.evaluation
        training = trained.reply.model_dump(include={"curve", "tokens", "steps", "parameters"})
        read = self._reply(outcome, EvaluateReply, scratch, 1, training)
        if isinstance(read, TaskResult):
            return replace(read, facts=_together(trained.facts, read.facts))
        reply, facts = read
        facts = _together(trained.facts, facts)
        whole = {**reply.model_dump(exclude={"facts"}), **training}
        if problem := self._miscounted(trained.reply, reply):
            return TaskResult(failure("contradicted", problem, whole), facts)
        if reply.status != "ok":
            cause, reason = reply.cause or "training", scrub(reply.reason, scratch)
            return TaskResult(failure(cause, reason, whole), facts)
        if (fault := reply.not_measured()) is not None:
            return TaskResult(failure("not_finite", fault), facts)
        return TaskResult({**whole, "cause": "", "reason": ""}, facts)

    def _miscounted(self, training: TrainReply, evaluation: EvaluateReply) -> str:
        """Say who counted other parameters than the checkpoint has; "" for nobody."""
        counted = evaluation.parameters
        if counted is None or evaluation.status != "ok":
            return ""
        for who, claimed in (("training", training.parameters), ("check", self.parameters)):
            if claimed is not None and claimed != counted:
                return (
                    f"its {who} counted {claimed:,} parameters, and its checkpoint has {counted:,}"
                )
        return ""

    def _reply(
        self,
        outcome: Outcome,
        kind: type[Reply],
        scratch: Path,
        processes: int,
        details: Mapping[str, Any],
    ) -> TaskResult | tuple[Reply, dict[str, Any]]:
        """Return a job's reply with its facts, or the result of a job that gave none.

        Args:
            processes: how many devices the job kept.
            details: what is known of the verification without it.

        Raises:
            TrialLost: the machine is to blame, or the corpus.
        """
        kept = {DEVICE_S: float(outcome.facts.get("wall_s", 0.0)) * processes}
        try:
            refuse_infrastructure(outcome, scratch, self.limits)
            refuse_damaged_corpus(outcome, Path(self.job["corpus"]))
        except InfrastructureFailure as lost:
            raise TrialLost(str(lost), kept[DEVICE_S]) from lost
        about = {**outcome.facts, **kept}
        if outcome.status != "ok" or outcome.value is None:
            reason = scrub(outcome.reason, scratch)
            return TaskResult(failure(outcome.status, reason, details), about)
        try:
            reply = kind.model_validate(outcome.value)
        except ValidationError as error:
            reason = f"the reply is malformed: {error.errors()[0]['msg']}"
            return TaskResult(failure("bad_reply", reason), about)
        return reply, {**getattr(reply, "facts", {}), **about}


def _together(training: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of both jobs as those of one verification."""
    both = {key: facts for key in ADDED if (facts := _sum(key, training, evaluation)) is not None}
    peak = max(float(facts.get("max_rss_bytes", 0)) for facts in (training, evaluation))
    found = {**evaluation, **training, **both}
    return {**found, "max_rss_bytes": int(peak)} if peak else found


def _sum(key: str, *facts: Mapping[str, Any]) -> float | None:
    known = [float(each[key]) for each in facts if key in each]
    return sum(known) if known else None


def refuse_damaged_corpus(outcome: Outcome, corpus: Path) -> None:
    """Raise `InfrastructureFailure` where a job failed because its corpus cannot be read.

    A job that names the corpus is believed only where the corpus cannot be opened here either.
    """
    signs = (str(corpus), "SIGBUS")  # the signal for a file that was cut while it was mapped
    if outcome.status != "ok" and any(sign in outcome.reason for sign in signs):
        try:
            Corpus.open(corpus)
        except InputError as error:
            raise InfrastructureFailure(f"{error.where}: {error.message}") from error
