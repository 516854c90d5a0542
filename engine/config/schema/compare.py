"""What `genesys-engine compare` compares: the arms of a study, and their caps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from genesys_engine.engine.common.options import PluginOptions
from genesys_engine.engine.config.schema.base import Count, PositiveFloat, Section
from genesys_engine.plugins.kinds import PATH


class CompareArm(Section):
    """One configuration in a comparison."""

    name: str = Field(min_length=1, max_length=60, description="label in tables and plots")
    implementer: str = Field(
        "", description="implementation study: gp, direct, best_of_n, sequential, no_planner ..."
    )
    options: PluginOptions = Field(
        default_factory=dict, description="implementation study: options of the implementer"
    )
    proposals: Annotated[int, Field(ge=0)] | tuple[str, ...] | None = Field(
        None,
        description="implementation study: number of proposals (the first ones), or their names;"
        " default: all",
    )
    sets: tuple[str, ...] = Field(
        (),
        description="evolution study: overrides of the experiment, in the form of --set",
    )


class CompareSection(Section):
    """Arms of `genesys-engine compare`; ignored by `run`."""

    study: Literal["implementation", "evolution"] = Field(
        "implementation",
        description="implementation: the same proposals for every arm; evolution: whole runs",
    )
    arms: tuple[CompareArm, ...] = Field(
        (), description="the arms; the first is compared with each of the others"
    )
    proposals: str = Field(
        "",
        description="implementation study: folder of proposals, one JSON file each",
        json_schema_extra=PATH,
    )
    checks: str = Field(
        "",
        description="recorded reports of checks (`checks.jsonl` of the study that was recorded, or"
        " that file with xz): reports are part of prompts, so replaying replies needs the"
        " recorded reports; checks without a recorded report are run",
        json_schema_extra=PATH,
    )
    equal_to: str = Field(
        "",
        description="the arm whose tokens on a proposal best_of_n and sequential may use on it",
    )
    proposal_tokens: Count | None = Field(
        None, description="tokens after which an arm starts nothing new on a proposal"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (1, 2, 3), min_length=1, description="evolution study: run.seed of the runs of every arm"
    )
    recording: str = Field(
        "",
        description="evolution study: file that `compare --record FILE` wrote; runs of the very"
        " same study are taken from it, and only the others are carried out",
        json_schema_extra=PATH,
    )
    share_trainings: bool = Field(
        False,
        description="evolution study: runs use each other's trainings of the same design with the"
        " same training seed, at the cost that they had; no weights are kept, so that audits rest"
        " on the checks alone",
    )
    tokens: Count | None = Field(
        None,
        description="cap of every arm (evolution study: of each of its runs) in tokens of language"
        " models",
    )
    usd: PositiveFloat | None = Field(
        None, description="cap of every arm (evolution study: of each of its runs) in US dollars"
    )
    device_hours: PositiveFloat | None = Field(
        None, description="evolution study: cap of each run of every arm, as in [budget]"
    )
    wall_hours: PositiveFloat | None = Field(
        None, description="cap of every arm (evolution study: of each of its runs) in hours"
    )


ARM_CAPS = {
    "wall_hours": "wall_hours",
    "device_hours": "device_hours",
    "tokens": "llm_tokens",
    "usd": "llm_usd",
}
"""A cap of [compare] -> the key of [budget] that holds it in the runs of an evolution study."""
