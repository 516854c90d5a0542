"""Options of the built-in evaluators; imports neither torch nor lm-eval."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from genesys_engine.plugins.api import PATH_OR_NAME, Options


class HeldoutOptions(Options):
    """How much held-out text is scored; `windows` None: all of it."""

    windows: int | None = Field(
        128, ge=2, description="most windows of one context each, spread over the held-out text"
    )
    batch_tokens: int = Field(8192, ge=1, description="tokens per forward pass")


def _tuple(value: object) -> object:
    """Return one name as a list of one, and a list as a tuple: options are strict."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class LmEvalOptions(Options):
    """Which lm-eval tasks are run; `limit` None: all items."""

    tasks: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = Field(
        ("offline",),
        min_length=1,
        description="offline (from held-out text; with the corpus english also minimal_pairs),"
        " minimal_pairs, bigbench, paper (26 of its 29 tasks, from the hub), any task or group of"
        " lm-eval, or a folder with tasks in YAML (a path that begins with / or ./)",
        json_schema_extra=PATH_OR_NAME,
    )
    limit: int | None = Field(100, ge=2, description="most items per task")
    batch_tokens: int = Field(
        2048,
        ge=1,
        description="tokens per forward pass: what a CPU's cache holds; a GPU takes more",
    )
    data: str | None = Field(None, description="filled in by the engine: where fetched tasks lie")

    @model_validator(mode="after")
    def _tasks_exist(self) -> LmEvalOptions:
        from genesys_engine.plugins.evaluators.task_names import unknown

        # In a worker the engine has filled in `data`: the names were looked at before.
        if self.data is None and (problem := unknown(self.tasks)) is not None:
            raise ValueError(problem)
        return self
