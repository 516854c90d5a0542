"""Options of everything that asks language models: implementers here, ideation in `ideation`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesys_engine.plugins.api import PATH, Options


class ImplementerOptions(Options):
    """How a proposal becomes code."""

    tries: int = Field(default=7, ge=1, le=100, description="replies before a search steps back")
    rounds: int = Field(
        default=3, ge=1, le=20, description="searches before a proposal is given up"
    )
    beam: int = Field(default=1, ge=1, le=16, description="candidates of a unit in each try")
    planner: bool = Field(default=True, description="a plan is written before the code")
    observer: bool = Field(default=True, description="code that passed its check is read and rated")
    checker: bool = Field(
        default=True, description="code is checked on the way, not at the end only"
    )
    edits: bool = Field(
        default=False, description="the coder changes a unit by search and replace, if it can"
    )
    feedback: Literal["trace", "message"] = Field(
        default="trace",
        description="after a fault: with what was seen where it happened, or its message alone",
    )
    observer_threshold: int = Field(default=3, ge=0, le=5, description="rating that is accepted")
    observer_vetoes: int = Field(
        default=2,
        ge=0,
        le=100,
        description="passed units that the observer may send back before the best one counts",
    )
    new_slots: Literal["library", "implement"] = Field(
        default="library",
        description="a slot that the coder adds gets the nearest library unit, or one written anew",
    )
    temperature: float = Field(default=0.4, ge=0.0, le=2.0, description="of the first reply")
    temperature_step: float = Field(
        default=0.2, ge=0.0, le=1.0, description="added whenever a reply fails as the one before"
    )
    temperature_most: float = Field(
        default=1.0, ge=0.0, le=2.0, description="where raising it ends"
    )
    unit_tokens: int = Field(default=1400, ge=64, description="longest reply with one unit")
    block_tokens: int = Field(default=3500, ge=64, description="longest reply with a whole block")
    note_tokens: int = Field(default=300, ge=32, description="longest plan or rating")
    deadline_s: float = Field(default=600.0, gt=0.0, description="seconds for one reply")
    prompts: str = Field(
        default="",
        description="folder with templates (NAME.j2) of your own",
        json_schema_extra=PATH,
    )
    templates: dict[str, str] = Field(
        default_factory=dict,
        description="template of your own by name: {coder = 'my_coder.j2'}",
        json_schema_extra=PATH,
    )


class LLMOptions(ImplementerOptions):
    """Options of the operators that ask language models."""

    implementer: str = Field(default="gp", description="how an accepted proposal becomes code")
    proposal_tries: int = Field(default=10, ge=1, le=100, description="ideas before giving up")
    proposal_threshold: int = Field(
        default=4, ge=0, le=5, description="the reviewer's rating from which on an idea is built"
    )
    proposal_tokens: int = Field(default=700, ge=64, description="longest proposal")
    proposal_temperature: float = Field(default=0.8, ge=0.0, le=2.0, description="of the proposer")
    most_changes: int = Field(default=2, ge=1, le=20, description="units that an idea may change")
    passages: int = Field(
        default=2, ge=0, le=20, description="passages of the knowledge base shown"
    )
    tried: int = Field(default=4, ge=0, le=50, description="earlier attempts shown")
    same: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="cosine of two ideas' sentences from which on the second is refused unread",
    )
