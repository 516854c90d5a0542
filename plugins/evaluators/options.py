"""Options of the built-in evaluators; imports neither torch nor lm-eval."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from genesys_engine.plugins.api import PATH_OR_NAME, InputError, Options


class HeldoutOptions(Options):
    """How much held-out text is scored; `windows` None: all of it."""

    windows: int | None = Field(
        128, ge=2, description="most windows of one context each, spread over the held-out text"
    )
    batch_tokens: int = Field(
        2048,
        ge=1,
        description="tokens per forward pass: what a CPU's cache holds; a GPU takes more",
    )


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


SIZES: dict[str, dict[str, dict[str, float]]] = {
    "mqar": {
        "small": {"pairs": 8, "length": 64, "vocabulary": 64, "width": 64, "steps": 240},
        "published": {
            "pairs": 64,
            "length": 512,
            "vocabulary": 8192,
            "width": 128,
            "steps": 100_000,
        },
    },
    "copying": {
        "small": {"tokens": 8, "length": 48, "vocabulary": 16, "width": 64, "steps": 240},
        "published": {
            "tokens": 16,
            "length": 256,
            "vocabulary": 16,
            "width": 128,
            "steps": 20_000,
            "batch": 128,
        },
    },
    "recall_noisy": {
        "small": {"keys": 8, "length": 64, "noise_tokens": 16, "noise": 0.2, "steps": 240},
        "published": {
            "keys": 8,
            "length": 128,
            "noise_tokens": 16,
            "noise": 0.2,
            "width": 128,
            "steps": 20_000,
            "batch": 128,
        },
    },
    "memorise": {
        "small": {"keys": 1024, "values": 64, "length": 32, "width": 64, "steps": 120},
        "published": {
            "keys": 127,
            "values": 128,
            "length": 32,
            "width": 128,
            "steps": 400,
            "batch": 128,
        },
    },
}
"""What an option of a skill is where it is left out, by skill and size; see docs/evaluation.md.

The published sizes are the largest of figure 2 of Arora et al. 2023 (100,000 items, 64 passes) and
the baseline of Poli et al. 2024 (12,800 items and 256 to memorise, 200 passes), with as many items.
"""
_OF_MODEL = {"width": 64, "blocks": 2, "batch": 64}


class SkillOptions(Options):
    """The task of one skill and the model that learns it; `size` sets the defaults."""

    skill: ClassVar[str]
    of_task_names: ClassVar[tuple[str, ...]]

    size: Literal["small", "published"] = Field(
        "small", description="small: seconds on one core; published: the setting of the paper"
    )
    width: int | None = Field(None, ge=8, multiple_of=8, description="d_model of the model")
    blocks: int | None = Field(None, ge=1, description="blocks of the model")
    steps: int | None = Field(None, ge=1, description="optimiser steps")
    batch: int | None = Field(None, ge=1, description="items of a step")
    items: int = Field(256, ge=2, description="items that are tested, none of them trained on")
    seed: int = Field(0, ge=0, description="of the items and of the model's weights")

    def chosen(self, name: str) -> int:
        """Return an option as given, or as its size has it."""
        return int(self._chosen(name))

    def of_task(self) -> dict[str, Any]:
        """Return the parameters of the task."""
        found = {name: self._chosen(name) for name in self.of_task_names}
        return {n: v if n == "noise" else int(v) for n, v in found.items()}

    def _chosen(self, name: str) -> float:
        given: float | None = getattr(self, name)
        return {**_OF_MODEL, **SIZES[self.skill][self.size]}[name] if given is None else given

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        from genesys_engine.plugins.evaluators.skill_tasks import TASKS

        try:
            TASKS[self.skill](**self.of_task())
        except InputError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        return self


class MqarOptions(SkillOptions):
    """Multi-query associative recall (Arora et al. 2023)."""

    skill = "mqar"
    of_task_names = ("pairs", "length", "vocabulary")

    pairs: int | None = Field(None, ge=1, description="keys with a value, each asked once")
    length: int | None = Field(None, ge=4, description="tokens of an item")
    vocabulary: int | None = Field(None, ge=4, description="half of them keys, half values")


class CopyingOptions(SkillOptions):
    """Selective copying (Poli et al. 2024)."""

    skill = "copying"
    of_task_names = ("tokens", "length", "vocabulary")

    tokens: int | None = Field(None, ge=1, description="tokens to copy")
    length: int | None = Field(None, ge=3, description="tokens of an item")
    vocabulary: int | None = Field(None, ge=4, description="two of them are blank and mark")


class RecallNoisyOptions(SkillOptions):
    """Recall among noise (Poli et al. 2024)."""

    skill = "recall_noisy"
    of_task_names = ("keys", "length", "noise_tokens", "noise")

    keys: int | None = Field(None, ge=2, description="keys, and as many values")
    length: int | None = Field(None, ge=6, description="tokens of an item")
    noise_tokens: int | None = Field(None, ge=1, description="tokens that are noise")
    noise: float | None = Field(None, ge=0, lt=1, description="share of pairs that are noise")


class MemoriseOptions(SkillOptions):
    """Memorisation (Poli et al. 2024)."""

    skill = "memorise"
    of_task_names = ("keys", "values", "length")

    keys: int | None = Field(None, ge=1, description="keys to learn")
    values: int | None = Field(None, ge=2, description="different values")
    length: int | None = Field(None, ge=2, description="tokens of an item")
