"""Options of the built-in evaluators; imports neither torch nor lm-eval."""

from __future__ import annotations

from pydantic import Field

from genesys_engine.plugins.api import Options


class HeldoutOptions(Options):
    """How much held-out text is scored."""

    windows: int | None = Field(128, ge=2)
    """Windows of one context each, spread over the held-out text; None for all of it."""
    batch_tokens: int = Field(8192, ge=1)
    """Tokens per forward pass."""


class LmEvalOptions(Options):
    """Which lm-eval tasks are run."""

    tasks: tuple[str, ...] = Field(("continuation", "corruption"), min_length=1)
    limit: int | None = Field(100, ge=2)
    """Items per task; None for all."""
    batch_tokens: int = Field(8192, ge=1)
    """Tokens per forward pass."""
