"""One verification on its way: a training job, and then an evaluation job.

What a design is scored with is in no process that trains (`plugins/train_job.py`); the evaluation
(`plugins/evaluate_job.py`) gets the checkpoint.  Here the one follows the other, and what both
report becomes one result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.jobs.facts import Facts, number
from genesys_engine.engine.jobs.replies import EvaluateReply, TrainReply
from genesys_engine.engine.jobs.results import VerifyResult, scrub, so_far
from genesys_engine.engine.jobs.subjects import serving
from genesys_engine.engine.jobs.task_result import (
    InfrastructureFailure,
    TaskResult,
    refuse_infrastructure,
)
from genesys_engine.engine.jobs.worker_jobs import VerifyJob
from genesys_engine.engine.train.trained import TRAINED, Trained, keep_trained, kept_training
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.executors.kept_job import forget, is_noted
from genesys_engine.plugins.sandbox.scratch import remove, take_tensors

if TYPE_CHECKING:
    from genesys_engine.engine.train.placement import Placed

TRAIN = "genesys_engine.plugins.train_job:train"
EVALUATE = "genesys_engine.plugins.evaluate_job:evaluate"
DEVICE_S = "device_s"  # fact of a verification: seconds it kept its device, or all of them
EVALUATION = "-evaluation"  # end of the name of an evaluation's scratch folder
ADDED = ("wall_s", "cpu_s", "build_s", DEVICE_S)  # facts that both jobs have
Reply = TypeVar("Reply", TrainReply, EvaluateReply)
Verified = TaskResult[VerifyResult]


class TrialLost(InfrastructureFailure):
    """A verification that came to no result through no fault of its design, and what it cost."""

    def __init__(self, reason: str, device_s: float) -> None:
        super().__init__(reason)
        self.device_s = device_s


class Pending(Future[TaskResult[VerifyResult]]):
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

    @cached_property
    def evaluation(self) -> Path:
        """Scratch folder of the evaluation job."""
        return self.training.with_name(f"{self.training.name}{EVALUATION}")

    @cached_property
    def trained(self) -> Path:
        """Where the engine keeps a training until it is evaluated; no job writes there."""
        return self.training.with_name(f"{self.training.name}{TRAINED}")

    def forget(self) -> None:
        """Let the jobs be done anew: what an executor noted of them is not wanted any more."""
        for scratch in (self.training, self.evaluation):
            forget(scratch)

    def remove(self) -> None:
        """Remove them all: the verification is over."""
        self.forget()
        for folder in (self.training, self.evaluation, self.trained):
            remove(folder)


@dataclass(frozen=True)
class Verification:
    """What both jobs need; `run` begins.

    `limits` are those of the training, `evaluation` those of the evaluation.  `ended` gets the
    result that both make, once each, and `lost` what neither is to blame for.  `parameters` is how
    many the check has counted, if it is known.
    """

    job: VerifyJob
    placed: Placed
    places: Places
    limits: Limits
    evaluation: Limits
    ended: Callable[[Verified, Trained | None], None]
    lost: Callable[[BaseException], None]
    parameters: int | None = None

    def run(self, result: Pending) -> None:
        """Train, or resume the training that an earlier session has kept; then evaluate."""
        training = self.job.training
        known = kept_training(self.places.trained, training, self.places.training)
        if known is not None:
            self._evaluate(result, known)
            return
        scratch = self.places.training
        scratch.mkdir(parents=True, exist_ok=True)
        result.job = self.placed.submit(TRAIN, to_json(training), scratch, self.limits)

        def then(outcome: Outcome) -> None:
            read = self._read_training(outcome)
            if isinstance(read, TaskResult):
                self.ended(read, None)
            else:
                self._evaluate(result, read)

        result.job.add_done_callback(self._guarded(then))

    def _evaluate(self, result: Pending, trained: Trained) -> None:
        job = self.job.evaluation(trained.weights)
        scratch = self.places.evaluation
        if not is_noted(scratch):
            remove(scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        limits = serving(self.evaluation, job.checkpoint)
        try:
            result.job = self.placed.submit(EVALUATE, to_json(job), scratch, limits)
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

    def _read_training(self, outcome: Outcome) -> Verified | Trained:
        """Return the kept training, or the result of one that failed."""
        scratch, job = self.places.training, self.job.training
        read = self._reply(outcome, TrainReply, scratch, job.processes, so_far(scratch))
        if isinstance(read, TaskResult):
            return read
        reply, facts = read
        if reply.status != "ok":
            known = reply.result if reply.curve else so_far(scratch) or reply.result
            return _failed("training", scrub(reply.reason, scratch), facts, known)
        if (problem := reply.not_measured()) is not None:
            return _failed("not_finite", problem, facts)
        weights = None if reply.checkpoint is None else scratch / Path(reply.checkpoint).name
        if weights is not None:
            try:
                take_tensors(weights, self.limits.file_bytes)
            except InputError as error:
                reason = f"its checkpoint {error.message}"
                return _failed("bad_reply", reason, facts, reply.result)
        try:
            return keep_trained(self.places.trained, job, reply, facts, weights)
        except OSError as error:
            lost = number(facts, DEVICE_S)
            raise TrialLost(f"its weights cannot be saved: {error}", lost) from error

    def _read_evaluation(self, outcome: Outcome, trained: Trained) -> Verified:
        """Return the result of both jobs."""
        scratch = self.places.evaluation
        read = self._reply(outcome, EvaluateReply, scratch, 1, trained.reply.result)
        if isinstance(read, TaskResult):
            return replace(read, facts=_together(trained.facts, read.facts))
        reply, facts = read
        facts = _together(trained.facts, facts)
        whole = reply.after(trained.reply.result)
        if problem := self._miscounted(trained.reply, reply):
            return _failed("contradicted", problem, facts, whole)
        if reply.status != "ok":
            cause, reason = reply.cause or "training", scrub(reply.reason, scratch)
            return _failed(cause, reason, facts, whole)
        if (fault := reply.not_measured()) is not None:
            return _failed("not_finite", fault, facts)
        return TaskResult(whole.passed(), facts)

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
        known: VerifyResult | None,
    ) -> Verified | tuple[Reply, Facts]:
        """Return a job's reply with its facts, or the result of a job that gave none.

        Args:
            processes: how many devices the job kept.
            known: what the verification has without it.

        Raises:
            TrialLost: the machine is to blame, or the corpus.
        """
        device_s = number(outcome.facts, "wall_s") * processes
        try:
            refuse_infrastructure(outcome, scratch, self.limits)
            refuse_damaged_corpus(outcome, Path(self.job.training.corpus))
        except InfrastructureFailure as lost:
            raise TrialLost(str(lost), device_s) from lost
        about = {**outcome.facts, DEVICE_S: device_s}
        if outcome.status != "ok" or outcome.value is None:
            return _failed(outcome.status, scrub(outcome.reason, scratch), about, known)
        try:
            reply = kind.model_validate(outcome.value)
        except ValidationError as error:
            reason = f"the reply is malformed: {error.errors()[0]['msg']}"
            return _failed("bad_reply", reason, about)
        return reply, {**reply.facts, **about}


def _failed(
    cause: str, reason: str, facts: Facts, known: VerifyResult | None = None
) -> TaskResult[VerifyResult]:
    return TaskResult(VerifyResult.failed(cause, reason, known), facts)


def _together(training: Facts, evaluation: Facts) -> Facts:
    """Return the facts of both jobs as those of one verification."""
    both = {key: facts for key in ADDED if (facts := _sum(key, training, evaluation)) is not None}
    peak = max(number(facts, "max_rss_bytes") for facts in (training, evaluation))
    found = {**evaluation, **training, **both}
    return {**found, "max_rss_bytes": int(peak)} if peak else found


def _sum(key: str, *facts: Facts) -> float | None:
    known = [number(each, key) for each in facts if key in each]
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
