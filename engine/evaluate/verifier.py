"""Verifiers: train and evaluate one design at one rung, in an isolated worker."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.common.randomness import derived_seed
from genesys_engine.engine.evaluate.verification import (
    DEVICE_S,
    Pending,
    Places,
    TrialLost,
    Verification,
    Verified,
)
from genesys_engine.engine.jobs.facts import Facts, number
from genesys_engine.engine.jobs.results import VerifyResult
from genesys_engine.engine.jobs.task_result import Running, TaskResult
from genesys_engine.engine.jobs.worker_jobs import (
    Budget,
    ComponentSpec,
    TrainJob,
    Trial,
    VerifyJob,
)
from genesys_engine.engine.store.checkpoints import CHECKPOINTS
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.samples import pending_samples
from genesys_engine.engine.train.placement import SUPPLIED_BY, Supplied, Trials
from genesys_engine.engine.train.trained import Trained, is_trained
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.kept_job import is_noted, is_of_a_noted_job
from genesys_engine.plugins.sandbox.scratch import remove, take_tensors
from genesys_engine.plugins.trainers.live_curve import read_live_curve
from genesys_engine.plugins.trainers.session import TRAINING

if TYPE_CHECKING:
    from genesys_engine.engine.evaluate.noise_cache import NoiseCache

SCRATCH = "verify-"
SAMPLES = "samples.safetensors"  # what the job calls them in its scratch folder


@dataclass(frozen=True)
class RungSettings:
    """One rung as a verification needs it."""

    scale: str
    context: int
    tokens: int
    batch_tokens: int
    peak_lr: float
    lr_scale: float = 1.0

    @property
    def budget(self) -> Budget:
        """What one training may spend."""
        return Budget(self.tokens, self.batch_tokens, self.peak_lr, self.lr_scale)


@dataclass(frozen=True)
class VerifySettings:
    """What every verification of a run has in common; the
    evaluators are by the scale of the rung that they are asked at.

    `limits` are those of a training job, which reads the training text alone, and `evaluation`
    those of an evaluation job.  Neither opens the compile profile; where the trainer `compiles`,
    `limits_for` does.
    """

    seed: int
    corpus: Path
    rungs: tuple[RungSettings, ...]
    trainer: ComponentSpec
    evaluators: Mapping[str, tuple[ComponentSpec, ...]]
    limits: Limits
    evaluation: Limits
    compiles: bool = False

    def limits_for(self, *, passed: bool) -> Limits:
        """Return the limits of the training of a design that `passed` its check, or not.

        The one place that opens the compile profile, and only to a design that passed.
        """
        return replace(self.limits, compiles=self.compiles and passed)


def verification_job(
    settings: VerifySettings, source: str, model: ModelConfig, rung: int, replicate: int
) -> VerifyJob:
    """Return the job: every design at a rung gets the same data order and seed, so that
    designs are compared on equal terms.

    Further seeds of the reference measure the noise: they follow from the scale alone, so that
    every run asks for the same ones (see `calibration`).
    """
    at = settings.rungs[rung]
    seed, purpose = settings.seed, f"train/{rung}"
    if replicate and not is_fresh(replicate):
        seed, purpose = 0, f"noise/{at.scale}"
    training = TrainJob(
        source=source,
        model=model,
        corpus=str(settings.corpus),
        seed=derived_seed(seed, purpose, replicate) % 2**31,
        budget=at.budget,
        trainer=settings.trainer,
    )
    return VerifyJob(training, settings.evaluators[at.scale])


def device_s_of(ended: Running) -> float:
    """Return how long a task that has ended kept its device, whatever came of it."""
    if ended.cancelled():
        return 0.0
    error = ended.exception()
    if error is None:
        return number(ended.result().facts, DEVICE_S)
    return error.device_s if isinstance(error, TrialLost) else 0.0


class Verifier:
    """Sends verifications out and reads what comes back.

    Args:
        settles: what a verification leaves stays until `settled` is called, since its result may
            be lost by a kill before it is durable; else it is removed with the result.
    """

    def __init__(
        self,
        trials: Trials,
        settings: VerifySettings,
        folder: Path,
        noise: NoiseCache | None = None,
        *,
        settles: bool = False,
        share_all: bool = False,
    ) -> None:
        self._settles = settles
        self._trials = trials
        self._settings = settings
        self._folder = folder
        self._noise = noise
        self._share_all = share_all

    def job(self, source: str, model: ModelConfig, rung: int, replicate: int) -> VerifyJob:
        """Return the job of a verification; see `verification_job`."""
        return verification_job(self._settings, source, model, rung, replicate)

    def shares(self, replicate: int) -> bool:
        """Tell whether other runs may use a training: the noise of the reference, or, in a study
        that shares them, any."""
        return self._share_all or (replicate > 0 and not is_fresh(replicate))

    def curve(self, seq: int) -> list[tuple[float, float]]:
        """Return the (tokens, loss) points so far of a running trial, if it tells any."""
        return read_live_curve(self._scratch(seq))

    def close(self) -> None:
        """Let go of what plugins had trials placed on."""
        self._trials.close()

    def start(
        self,
        seq: int,
        job: VerifyJob,
        checkpoint: str | None,
        trial: Trial,
        *,
        parameters: int | None = None,
        shared: bool = False,
        passed: bool = False,
    ) -> Future[Verified]:
        """Begin a verification whose weights are to be kept under the name `checkpoint`.

        A `shared` one is looked up among those of earlier runs first, and kept for later ones.
        What a plugin supplies is no training and is not kept; where one may supply results it is
        asked every time, so that a result doesn't depend on what earlier runs have kept.

        Args:
            trial: which one it is, for plugins.
            parameters: how many its check has counted.
            passed: whether the design passed its check; only then may its training compile.
        """
        noise = self._noise if shared else None
        key = ""
        if noise is not None:
            key = noise.key(job, accelerator=self._settings.limits.accelerator)
            known = None if self._trials.may_be_supplied else noise.get(key)
            if known is not None:
                return _done(known)
        if (supplied := self._trials.supplied(job, trial)) is not None:
            return _done(read_supplied(supplied))
        places = Places(self._scratch(seq))
        # A task keeps its number: what an earlier attempt left is of this design at this rung,
        # and the trainer continues from it only if it is of the very same trial.
        if not is_noted(places.training):  # else a job of an earlier session may be at work there
            keep_training(places.training, self._settings.limits.file_bytes)
        result = Pending()

        def ended(read: Verified, trained: Trained | None) -> None:
            if read.result.ok:
                self._keep(seq, places, trained, checkpoint)
                if noise is not None:
                    noise.put(key, read.result, read.facts)
            if not self._settles:
                places.remove()
            result.set_result(read)

        def lost(error: BaseException) -> None:
            if isinstance(error, CancelledError):  # its job may go on, for who resumes the run
                result.set_exception(error)
                return
            places.forget()
            keep_training(places.training, self._settings.limits.file_bytes)
            remove(places.evaluation)
            result.set_exception(error)

        limits = self._settings.limits_for(passed=passed)
        placed = self._trials.place(job, trial, limits)
        evaluation = self._settings.evaluation
        Verification(job, placed, places, limits, evaluation, ended, lost, parameters).run(result)
        return result

    def settled(self, seq: int) -> None:
        """Remove what is left of a verification whose result is durable, or is made anew."""
        Places(self._scratch(seq)).remove()

    def _scratch(self, seq: int) -> Path:
        return self._folder / "scratch" / f"{SCRATCH}{seq}"

    def _keep(
        self, seq: int, places: Places, trained: Trained | None, checkpoint: str | None
    ) -> None:
        """Move what a verification leaves to where the run finds it: its weights, and the scores
        of single items; a file of these that is no good is left."""
        if trained is not None and trained.weights is not None and checkpoint is not None:
            folder = self._folder / CHECKPOINTS
            folder.mkdir(exist_ok=True)
            _name_again(trained.weights, folder / checkpoint)
        found = places.evaluation / SAMPLES
        with suppress(InputError):
            take_tensors(found, self._settings.evaluation.file_bytes)
            target = pending_samples(self._folder, seq)
            target.parent.mkdir(exist_ok=True)
            found.replace(target)


def _done(result: Verified) -> Future[Verified]:
    """Return the future of a verification that needs no job."""
    future: Future[Verified] = Future()
    future.set_result(result)
    return future


def read_supplied(supplied: Supplied) -> Verified:
    """Return the result of a verification that a plugin knows."""
    reply = supplied.reply
    facts: Facts = {**reply.facts, DEVICE_S: 0.0, SUPPLIED_BY: supplied.by}
    if reply.status != "ok":
        return TaskResult(VerifyResult.failed("training", reply.reason, reply.result), facts)
    if (problem := reply.not_measured()) is not None:
        return TaskResult(VerifyResult.failed("not_finite", problem), facts)
    return TaskResult(reply.result.passed(), facts)


def _name_again(file: Path, name: Path) -> None:
    """Give a file a second name: under the first it is found until the result is durable."""
    name.unlink(missing_ok=True)
    try:
        name.hardlink_to(file)
    except OSError:  # a file system without such names
        file.replace(name)


def keep_training(scratch: Path, most_bytes: int) -> None:
    """Leave nothing in a scratch folder but its training checkpoint; without one, no folder."""
    kept = scratch.with_name(f"{scratch.name}-{TRAINING}")
    try:
        take_tensors(scratch / TRAINING, most_bytes)
        (scratch / TRAINING).replace(kept)
    except (InputError, OSError):
        kept.unlink(missing_ok=True)
    remove(scratch)
    if kept.exists():
        scratch.mkdir()
        kept.replace(scratch / TRAINING)


def tidy(folder: Path) -> None:
    """Leave nothing in a run's scratch folder but training checkpoints, trainings that wait for
    their evaluation, and jobs that go on or have an outcome; without any, no folder."""
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if is_trained(entry) or is_of_a_noted_job(entry):
            continue
        if entry.name.startswith(SCRATCH) and entry.is_dir() and not entry.is_symlink():
            keep_training(entry, sys.maxsize)
        else:
            remove(entry)
    with contextlib.suppress(OSError):
        folder.rmdir()
