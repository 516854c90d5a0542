"""The schema of what an isolated worker replies; nothing it says is believed before it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

Finite = Annotated[float, Field(allow_inf_nan=False)]
MAX_ABS_SCORE = 1e100  # so that means and shares of scores are finite too


def is_measured(value: float) -> bool:
    """Tell whether a score or a loss is finite, and no larger than can be reckoned with."""
    return abs(value) <= MAX_ABS_SCORE


def _none_unless_measured(value: Any) -> Any:
    return value if isinstance(value, int | float) and is_measured(value) else None


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreReply(_Reply):
    """One score; its standard error is dropped where it is not a number."""

    value: float
    stderr: Annotated[float | None, BeforeValidator(_none_unless_measured)] = None
    higher_is_better: bool
    n: int = Field(ge=0)


Scores = dict[Annotated[str, Field(max_length=200)], ScoreReply]


class RefusalReply(_Reply):
    """What an evaluator cannot use, and what to do about it."""

    message: str = Field(max_length=20_000)
    where: str | None = Field(None, max_length=2000)
    hint: str | None = Field(None, max_length=2000)


class ControlsReply(_Reply):
    """The reply of the controls job (plugins/evaluate_job.py): the scores, or why there are none.

    `not_finite` names what was scored and is no number.
    """

    bigram: Scores = {}
    not_finite: list[Annotated[str, Field(max_length=200)]] = []
    refused: RefusalReply | None = None


class FitReply(BaseModel):
    """How a block was brought to the size of a scale."""

    model_config = ConfigDict(extra="allow", frozen=True)

    d_model: int = Field(ge=1)
    n_blocks: int = Field(ge=1)
    context: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    parameters: int = Field(ge=0)


class FaultReply(_Reply):
    """Which plugin's checker failed, and how."""

    name: str = Field(max_length=200)
    reason: str = Field(max_length=20_000)


class MeasurementsReply(BaseModel):
    """What a check measured; further figures are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    fits: dict[str, FitReply] = {}
    flops_per_token: dict[str, Finite] = {}
    fingerprint: str | None = Field(None, max_length=200)
    checker_fault: FaultReply | None = None


class FindingReply(BaseModel):
    """One finding; further keys are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    code: str = Field(max_length=100)
    severity: Literal["error", "warning"]
    message: str = Field(max_length=20_000)
    advice: str = Field("", max_length=20_000)
    unit: str | None = None
    line: int | None = None
    evidence: dict[str, Any] = {}


class CheckReply(BaseModel):
    """The reply of the check job (plugins/check_job.py)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    passed: bool
    findings: list[FindingReply] = Field(max_length=1000)
    measurements: MeasurementsReply

    @classmethod
    def read(cls, value: Mapping[str, Any], scales: Sequence[str]) -> Mapping[str, Any]:
        """Return `value` itself, once it fits.

        Raises:
            ValidationError: a field is missing or wrong, or the verdict contradicts the
                findings, or a passing block was not measured at every scale.
        """
        cls.model_validate(value, context={"scales": tuple(scales)}, strict=True)
        return value

    @model_validator(mode="after")
    def _agrees(self, info: ValidationInfo) -> CheckReply:
        """Refuse a verdict that the rest of the reply does not bear out."""
        if self.passed is any(found.severity == "error" for found in self.findings):
            raise ValueError("the verdict contradicts the findings")
        scales = (info.context or {}).get("scales", ())
        if self.passed and not set(scales) <= set(self.measurements.fits):
            raise ValueError("the block passed without a measurement at every scale")
        return self


Facts = dict[str, Finite | int | str | None]
Curve = Annotated[list[tuple[float, float]], Field(max_length=200)]


class _Trial(_Reply):
    """What every reply about a trial says."""

    status: Literal["ok", "failed"]
    reason: str = Field("", max_length=20_000)
    facts: Facts = {}


class TrainReply(_Trial):
    """The reply of the training job (plugins/train_job.py)."""

    curve: Curve = []
    tokens: int = Field(0, ge=0)
    steps: int = Field(0, ge=0)
    parameters: int = Field(0, ge=0)
    checkpoint: str | None = None

    def not_measured(self) -> str | None:
        """Say what should be a finite number (`is_measured`) and is not; None: nothing."""
        finite = all(is_measured(x) for point in self.curve for x in point)
        return None if finite else _not_measured("training loss")


class EvaluateReply(_Trial):
    """The reply of the evaluation job (plugins/evaluate_job.py)."""

    cause: Literal["", "training", "contradicted"] = ""
    scores: Scores = {}
    controls: dict[str, Scores] = {}
    parameters: int | None = Field(None, ge=0)  # in the checkpoint; a record may not know

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

    def not_measured(self) -> str | None:
        """Say what should be a finite number (`is_measured`) and is not; None: nothing."""
        return EvaluateReply.not_measured(self) or TrainReply.not_measured(self)


def _not_measured(what: str) -> str:
    return f"{what} is not finite, or beyond {MAX_ABS_SCORE:g}"
