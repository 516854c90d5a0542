"""The schema of what an isolated worker replies; nothing it says is believed before it fits."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _none_unless_finite(value: Any) -> Any:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreReply(_Reply):
    """One score; its standard error is dropped where it is not a number."""

    value: float
    stderr: Annotated[float | None, BeforeValidator(_none_unless_finite)] = None
    higher_is_better: bool
    n: int = Field(ge=0)


Scores = dict[Annotated[str, Field(max_length=200)], ScoreReply]


class VerifyReply(_Reply):
    """The reply of the verify job (plugins/verify_job.py)."""

    status: Literal["ok", "failed"]
    reason: str = Field("", max_length=20_000)
    scores: Scores = {}
    controls: dict[str, Scores] = {}
    curve: list[tuple[float, float]] = Field(default=[], max_length=200)
    tokens: int = Field(0, ge=0)
    steps: int = Field(0, ge=0)
    parameters: int = Field(0, ge=0)
    checkpoint: str | None = None
    facts: dict[str, float | int | str | None] = {}

    def not_finite(self) -> str | None:
        """Return the first thing that should be a finite number and is not."""
        groups = {"score": self.scores, **{f"control {k}": v for k, v in self.controls.items()}}
        for kind, scores in groups.items():
            for name, score in sorted(scores.items()):
                if not math.isfinite(score.value):
                    return f"{kind} {name}"
        finite = all(math.isfinite(x) for point in self.curve for x in point)
        return None if finite else "training loss"
