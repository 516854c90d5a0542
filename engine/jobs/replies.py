"""The schema of what an isolated worker replies; nothing it says is believed before it fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from genesys_engine.engine.jobs.facts import Finite, GivenFacts
from genesys_engine.engine.jobs.results import VerifyResult
from genesys_engine.engine.jobs.scores import MAX_ABS_SCORE, GivenScores, is_measured


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefusalReply(_Reply):
    """What an evaluator cannot use, and what to do about it."""

    message: str = Field(max_length=20_000)
    where: str | None = Field(None, max_length=2000)
    hint: str | None = Field(None, max_length=2000)


class ControlsReply(_Reply):
    """The reply of the controls job (plugins/evaluate_job.py): the scores, or why there are none.

    `not_finite` names what was scored and is no number.
    """

    bigram: GivenScores = {}
    not_finite: list[Annotated[str, Field(max_length=200)]] = []
    refused: RefusalReply | None = None


GivenCurve = Annotated[list[tuple[float, float]], Field(max_length=200)]


class _Trial(_Reply):
    """What every reply about a trial says."""

    status: Literal["ok", "failed"]
    reason: str = Field("", max_length=20_000)
    facts: GivenFacts = {}


class TrainReply(_Trial):
    """The reply of the training job (plugins/train_job.py)."""

    curve: GivenCurve = []
    tokens: int = Field(0, ge=0)
    steps: int = Field(0, ge=0)
    parameters: int = Field(0, ge=0)
    checkpoint: str | None = None

    @property
    def result(self) -> VerifyResult:
        """What a training alone says of a verification."""
        counts = (self.tokens, self.steps, self.parameters)
        return VerifyResult(self.status, "", self.reason, {}, {}, tuple(self.curve), *counts)

    def not_measured(self) -> str | None:
        """Say what should be a finite number (`is_measured`) and is not; None: nothing."""
        finite = all(is_measured(x) for point in self.curve for x in point)
        return None if finite else _not_measured("training loss")


class PaceReply(_Reply):
    """The reply of the measurement of a training's speed (plugins/train_job.py, `pace`)."""

    tokens_per_s: Finite


class EvaluateReply(_Trial):
    """The reply of the evaluation job (plugins/evaluate_job.py)."""

    cause: Literal["", "training", "contradicted"] = ""
    scores: GivenScores = {}
    controls: dict[str, GivenScores] = {}
    parameters: int | None = Field(None, ge=0)  # in the checkpoint; a record may not know

    def after(self, training: VerifyResult) -> VerifyResult:
        """Return what both jobs say of a verification."""
        return replace(
            training,
            status=self.status,
            cause=self.cause,
            reason=self.reason,
            scores=self.scores,
            controls=self.controls,
        )

    def not_measured(self) -> str | None:
        """Say what should be a finite number (`is_measured`) and is not; None: nothing."""
        groups = {"score": self.scores, **{f"control {k}": v for k, v in self.controls.items()}}
        for kind, scores in groups.items():
            for name, score in sorted(scores.items()):
                if not is_measured(score.value):
                    return _not_measured(f"{kind} {name}")
        return None


class ConfirmReply(_Reply):
    """The reply of a larger sample (plugins/evaluate_job.py, `confirm`); None: no finite number."""

    places: int = Field(ge=0)
    problem: str = Field("", max_length=20_000)
    bits: Finite | None = None
    stderr: Finite | None = None
    seen: Finite | None = None
    seen_stderr: Finite | None = None


class VerifyReply(EvaluateReply, TrainReply):
    """A whole verification, as a plugin may supply it and as the cache keeps it."""

    parameters: int = Field(0, ge=0)

    @property
    def result(self) -> VerifyResult:
        """The verification."""
        return self.after(super().result)

    def not_measured(self) -> str | None:
        """Say what should be a finite number (`is_measured`) and is not; None: nothing."""
        return EvaluateReply.not_measured(self) or TrainReply.not_measured(self)


def _not_measured(what: str) -> str:
    return f"{what} is not finite, or beyond {MAX_ABS_SCORE:g}"
