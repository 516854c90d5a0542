"""The reply of observers and reviewers: a rating with its reason."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Rating(BaseModel):
    """A rating from 0 (useless) to 5 (excellent); the reason comes first, so that it is thought
    of first."""

    model_config = ConfigDict(frozen=True)

    reason: str = Field(max_length=2000)
    score: int = Field(ge=0, le=5)
