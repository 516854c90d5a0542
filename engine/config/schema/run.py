"""How a run goes: its course, where its jobs run, how they are kept apart, what it may spend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesys_engine.engine.config.schema.base import (
    Component,
    Count,
    PositiveFloat,
    Section,
)
from genesys_engine.plugins.kinds import PATH
from genesys_engine.plugins.sandbox.isolation import Level


class RunSection(Section):
    """The course of the run."""

    name: str = Field(
        "experiment",
        min_length=1,
        description="name in displays and reports; default: the name of the file",
    )
    seed: int = Field(1, ge=0, description="seed of all randomness")
    workers: Count = Field(
        2,
        description="worker processes; results do not depend on it (workers beyond"
        " `lookahead` stay idle)",
    )
    mode: Literal["steady_state", "generational"] = Field(
        "steady_state",
        description="steady_state: every result counts at once; generational: mu + lambda",
    )
    lookahead: Count = Field(
        6, description="tasks that may be running when the next decision is made"
    )
    designers: Count = Field(2, description="threads that create designs")
    tries_per_design: Count = Field(
        20, description="attempts at a valid new child before the design is abandoned"
    )


class ExecutorSection(Component):
    """Where checks and verifications run, and their resource limits."""

    use: str = "process"
    timeout_s: PositiveFloat = Field(
        1800.0,
        description="seconds of wall time for one training, and again for its evaluation, before"
        " it is killed",
    )
    memory_gib: PositiveFloat = Field(
        4.0, description="memory of one worker in GiB; a design that needs more fails"
    )


class SandboxSection(Section):
    """How strictly candidates are kept apart from the machine; see docs/sandbox.md."""

    require: Level = Field(
        "process",
        description="minimum level: process, standard (also Landlock and"
        " seccomp) or strict (also namespaces); `doctor` shows the level of this machine",
    )
    readable: tuple[str, ...] = Field(
        (),
        description="files and folders that workers may read in addition to the installed packages",
        json_schema_extra=PATH,
    )


class BudgetSection(Section):
    """Hard caps.  A warning comes at 50 and 80 %; a run that a cap ends can be resumed."""

    designs: Count = Field(20, description="number of children; seeds do not count")
    wall_hours: PositiveFloat | None = Field(None, description="wall time")
    device_hours: PositiveFloat | None = Field(
        None,
        description="total device hours of verifications: GPU-hours where there"
        " is a GPU, hours of workers where they train on the processor",
    )
    llm_tokens: Count | None = Field(
        None, description="tokens of language models, input and output"
    )
    llm_usd: PositiveFloat | None = Field(
        None, description="US dollars for language models; every model needs a known price"
    )


class PluginsSection(Section):
    """Which plugins are left alone, which must work, and which lie next to the experiment."""

    disable: tuple[str, ...] = Field((), description="distributions or plugins not to load")
    require: tuple[str, ...] = Field((), description="distributions or plugins that must load")
    local: tuple[str, ...] = Field(
        (), description="files or folders with a plugin", json_schema_extra=PATH
    )
