"""Verifiers: train and evaluate one design at one rung, in an isolated worker."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genesys_engine.engine.designer import InfrastructureFailure, TaskResult, refuse_infrastructure
from genesys_engine.engine.finals import is_fresh
from genesys_engine.engine.randomness import derived_seed
from genesys_engine.engine.replies import MOST, VerifyReply, is_measured
from genesys_engine.engine.samples import pending_samples
from genesys_engine.engine.trials import SUPPLIED_BY, Trials
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.sandbox.scratch import remove, take_tensors
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.trainers.live_curve import read_live_curve
from genesys_engine.plugins.trainers.session import TRAINING

if TYPE_CHECKING:
    from genesys_engine.engine.calibration import NoiseCache

SCRATCH = "verify-"
VERIFY = "genesys_engine.plugins.verify_job:verify"
SAMPLES = "samples.safetensors"  # what the job calls them in its scratch folder
DEVICE_S = "device_s"  # fact of a verification: seconds it kept its device, or all of them
CHECKPOINTS = "checkpoints"  # folder of a run


@dataclass(frozen=True)
class RungSettings:
    """One rung as a verification needs it."""

    scale: str
    context: int
    tokens: int
    batch_tokens: int
    peak_lr: float
    lr_scale: float = 1.0


@dataclass(frozen=True)
class VerifySettings:
    """What every verification of a run has in common; components are (target, options).

    `limits` never open the compile profile; where the trainer `compiles`, `limits_for` does.
    """

    seed: int
    corpus: Path
    rungs: tuple[RungSettings, ...]
    trainer: Mapping[str, Any]
    evaluators: Sequence[Mapping[str, Any]]
    limits: Limits
    compiles: bool = False

    def limits_for(self, *, passed: bool) -> Limits:
        """Return the limits of the verification of a design that `passed` its check, or not.

        The one place that opens the compile profile, and only to a design that passed.
        """
        return replace(self.limits, compiles=self.compiles and passed)


def verification_job(
    settings: VerifySettings, source: str, model: Mapping[str, Any], rung: int, replicate: int
) -> dict[str, Any]:
    """Return the job: every design at a rung gets the same data order and seed, so that
    designs are compared on equal terms.

    Further seeds of the reference measure the noise: they follow from the scale alone, so that
    every run asks for the same ones (see `calibration`).
    """
    at = settings.rungs[rung]
    seed, purpose = settings.seed, f"train/{rung}"
    if replicate and not is_fresh(replicate):
        seed, purpose = 0, f"noise/{at.scale}"
    keys = ("d_model", "n_blocks", "vocab_size", "context")
    return {
        "source": source,
        "model": {key: model[key] for key in keys},
        "corpus": str(settings.corpus),
        "seed": derived_seed(seed, purpose, replicate) % 2**31,
        "budget": {
            "tokens": at.tokens,
            "batch_tokens": at.batch_tokens,
            "peak_lr": at.peak_lr,
            "lr_scale": at.lr_scale,
        },
        "trainer": dict(settings.trainer),
        "evaluators": [dict(evaluator) for evaluator in settings.evaluators],
    }


class TrialLost(InfrastructureFailure):
    """A verification that came to no result through no fault of its design, and what it cost."""

    def __init__(self, reason: str, device_s: float) -> None:
        super().__init__(reason)
        self.device_s = device_s


def device_s_of(ended: Future[TaskResult]) -> float:
    """Return how long a task that has ended kept its device, whatever came of it."""
    if ended.cancelled():
        return 0.0
    error = ended.exception()
    if error is None:
        return float(ended.result().facts.get(DEVICE_S, 0.0))
    return error.device_s if isinstance(error, TrialLost) else 0.0


class _Result(Future[TaskResult]):
    """What a job's outcome is read to; taking it back takes the job back, if it has not begun."""

    def __init__(self, job: Future[Outcome]) -> None:
        super().__init__()
        self._job = job

    def cancel(self) -> bool:
        return self._job.cancel()


class Verifier:
    """Sends verifications out and reads what comes back."""

    def __init__(
        self,
        trials: Trials,
        settings: VerifySettings,
        folder: Path,
        noise: NoiseCache | None = None,
    ) -> None:
        self._trials = trials
        self._settings = settings
        self._folder = folder
        self._noise = noise

    def payload(
        self, source: str, model: Mapping[str, Any], rung: int, replicate: int
    ) -> dict[str, Any]:
        """Return the job of a verification; see `verification_job`."""
        return verification_job(self._settings, source, model, rung, replicate)

    def curve(self, seq: int) -> list[tuple[float, float]]:
        """Return the (tokens, loss) points so far of a trial under way, if it tells any."""
        return read_live_curve(self._scratch(seq))

    def close(self) -> None:
        """Let go of what plugins had trials placed on."""
        self._trials.close()

    def start(
        self,
        seq: int,
        job: Mapping[str, Any],
        checkpoint: str | None,
        about: Mapping[str, Any],
        *,
        shared: bool = False,
        passed: bool = False,
    ) -> Future[TaskResult]:
        """Begin a verification whose weights are to be kept under the name `checkpoint`.

        A `shared` one is looked up among those of earlier runs first, and kept for later ones.
        What a plugin supplies is no training and is not kept; where one may supply results it is
        asked every time, so that a result doesn't depend on what earlier runs have kept.

        Args:
            about: the design, the rung and the replicate, as plugins are told of them.
            passed: whether the design passed its check; only then may its training compile.
        """
        noise = self._noise if shared else None
        key = ""
        if noise is not None:
            key = noise.key(job, accelerator=self._settings.limits.accelerator)
            known = None if self._trials.may_be_supplied else noise.get(key)
            if known is not None:
                found: Future[TaskResult] = Future()
                found.set_result(known)
                return found
        scratch = self._scratch(seq)
        # A task keeps its number: what an earlier attempt left is of this design at this rung,
        # and the trainer goes on from it only if it is of the very same trial.
        keep_training(scratch, self._settings.limits.file_bytes)
        scratch.mkdir(parents=True, exist_ok=True)
        limits = self._settings.limits_for(passed=passed)
        job_done = self._trials.submit(VERIFY, job, scratch, limits, about)
        done = _Result(job_done)

        def finish(inner: Future[Outcome]) -> None:
            try:
                read = self._read(inner.result(), scratch, checkpoint, seq)
                if noise is not None and _is_trained(read):
                    noise.put(key, read.result, read.facts)
            except BaseException as error:  # handed to the loop, which decides
                keep_training(scratch, self._settings.limits.file_bytes)
                done.set_exception(error)
            else:
                remove(scratch)
                done.set_result(read)

        job_done.add_done_callback(finish)
        return done

    def _scratch(self, seq: int) -> Path:
        return self._folder / "scratch" / f"{SCRATCH}{seq}"

    def _read(
        self, outcome: Outcome, scratch: Path, checkpoint: str | None, seq: int
    ) -> TaskResult:
        kept = {DEVICE_S: self._device_s(outcome)}
        try:
            refuse_infrastructure(outcome, scratch, self._settings.limits)
            refuse_damaged_corpus(outcome, self._settings.corpus)
        except InfrastructureFailure as lost:
            raise TrialLost(str(lost), kept[DEVICE_S]) from lost
        about = {**outcome.facts, **kept}
        if outcome.status != "ok" or outcome.value is None:
            reason = scrub(outcome.reason, scratch)
            return TaskResult(failure(outcome.status, reason, _so_far(scratch)), about)
        try:
            reply = VerifyReply.model_validate(outcome.value)
        except ValidationError as error:
            reason = f"the reply is malformed: {error.errors()[0]['msg']}"
            return TaskResult(failure("bad_reply", reason), about)
        value = reply.model_dump(exclude={"facts", "checkpoint"})
        facts = {**reply.facts, **about}
        if reply.status != "ok":
            so_far = {} if reply.curve else _so_far(scratch)
            told = {**value, **so_far}
            return TaskResult(failure("training", scrub(reply.reason, scratch), told), facts)
        if (bad := reply.not_finite()) is not None:
            return TaskResult(
                failure("not_finite", f"{bad} is not finite, or beyond {MOST:g}"), facts
            )
        if checkpoint is not None and reply.checkpoint:
            weights = scratch / Path(reply.checkpoint).name
            try:
                take_tensors(weights, self._settings.limits.file_bytes)
            except InputError as error:
                reason = f"its checkpoint {error.message}"
                return TaskResult(failure("bad_reply", reason, value), facts)
            self._keep(weights, checkpoint)
        self._keep_samples(scratch / SAMPLES, seq)
        return TaskResult({**value, "cause": "", "reason": ""}, facts)

    def _device_s(self, outcome: Outcome) -> float:
        """Return how long a job kept its device, or all of its devices together."""
        processes = self._settings.trainer["options"].get("processes", 1)
        return float(outcome.facts.get("wall_s", 0.0)) * int(processes)

    def _keep_samples(self, found: Path, seq: int) -> None:
        """Move the scores of single items to where the store finds them; a bad file is left."""
        with suppress(InputError):
            take_tensors(found, self._settings.limits.file_bytes)
            target = pending_samples(self._folder, seq)
            target.parent.mkdir(exist_ok=True)
            found.replace(target)

    def _keep(self, weights: Path, name: str) -> None:
        """Move the weights into the run."""
        folder = self._folder / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        weights.replace(folder / name)


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


def _is_trained(done: TaskResult) -> bool:
    """Tell whether a result is that of a training which came to its end here."""
    return done.result["status"] == "ok" and SUPPLIED_BY not in done.facts


def _so_far(scratch: Path) -> dict[str, Any]:
    """Return how far a trial came that has no result: its curve and the tokens that it saw."""
    curve = read_live_curve(scratch)
    return {"curve": curve, "tokens": int(curve[-1][0])} if curve else {}


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
    """Leave nothing in a run's scratch folder but training checkpoints; without one, no folder."""
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if entry.name.startswith(SCRATCH) and entry.is_dir() and not entry.is_symlink():
            keep_training(entry, sys.maxsize)
        else:
            remove(entry)
    with contextlib.suppress(OSError):
        folder.rmdir()


def checkpoint_name(design: int, rung: int, replicate: int) -> str:
    """Return the file that keeps the weights of a verification, in `CHECKPOINTS`."""
    return f"design-{design}-rung-{rung}-seed-{replicate}.safetensors"


def failure(cause: str, reason: str, value: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the result of a verification that failed, with what it still has to tell."""
    kept = value or {}
    return {
        "status": "failed",
        "cause": cause,
        "reason": reason,
        "scores": finite_scores(kept.get("scores", {})),
        "controls": {k: finite_scores(v) for k, v in kept.get("controls", {}).items()},
        "curve": [p for p in kept.get("curve", []) if all(map(is_measured, p))],
        "tokens": kept.get("tokens", 0),
    }


def finite_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores that can be reckoned with."""
    return {k: s for k, s in scores.items() if is_measured(s["value"])}


def scrub(reason: str, scratch: Path) -> str:
    """Return `reason` without what differs from run to run: addresses, folders, times."""
    text = reason.replace(str(scratch), "<scratch>")
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", text)[:2000]
