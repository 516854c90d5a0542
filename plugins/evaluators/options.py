"""Options of the built-in evaluators; imports neither torch nor lm-eval."""

from __future__ import annotations

from pydantic import Field

from genesys_engine.plugins.api import Options


class HeldoutOptions(Options):
    """How much held-out text is scored; `windows` None: all of it."""

    windows: int | None = Field(
        128, ge=2, description="most windows of one context each, spread over the held-out text"
    )
    batch_tokens: int = Field(8192, ge=1, description="tokens per forward pass")


class LmEvalOptions(Options):
    """Which lm-eval tasks are run; `limit` None: all items."""

    tasks: tuple[str, ...] = Field(
        ("continuation", "corruption"), min_length=1, description="built from held-out text"
    )
    limit: int | None = Field(100, ge=2, description="most items per task")
    batch_tokens: int = Field(8192, ge=1, description="tokens per forward pass")
