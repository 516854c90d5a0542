"""The language models that operators ask, and what these may look up."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.config.schema.base import (
    Component,
    Count,
    PositiveFloat,
    Section,
)
from genesys_engine.plugins.kinds import PATH


class LLMSection(Component):
    """The language models that operators ask: one for all roles, or another for some.

    `roles` holds the tables [llm.roles.NAME]; one without `use` changes single options only.
    """

    concurrency: Count = Field(4, description="concurrent requests")
    requests_per_minute: PositiveFloat | None = Field(
        None, description="maximum requests per minute; default: no limit"
    )
    tokens_per_minute: PositiveFloat | None = Field(
        None, description="maximum tokens per minute, input and output; default: no limit"
    )
    deadline_s: PositiveFloat | None = Field(
        None, description="maximum seconds per call; default: set by the operator"
    )
    backoff_s: PositiveFloat = Field(
        1.0, description="first pause after a call that failed, in seconds; it doubles each time"
    )
    longest_pause_s: PositiveFloat = Field(
        60.0, description="longest pause, unless the service requests a longer one"
    )
    give_up_after_s: PositiveFloat = Field(
        3600.0, description="seconds without an answer before the run stops; it can be resumed"
    )
    stop_after_failures: Annotated[int, Field(ge=0)] = Field(
        5,
        description="consecutive designs abandoned for the same reason before the run stops; it"
        " can be resumed. 0: never",
    )
    recording: str = Field(
        "",
        description="file that `genesys-engine llm record` wrote: replies of the same model are"
        " taken from it, with the recorded tokens and cost, and only new requests are sent",
        json_schema_extra=PATH,
    )
    roles: dict[str, Component] = Field(
        default_factory=dict, description="other models for some roles"
    )

    def to_json(self) -> TomlTable:
        """Return the table as it would stand in the file."""
        hidden = {"options", "roles"}
        own = self.model_dump(mode="json", exclude=hidden, exclude_none=True)
        own |= self.options
        if self.roles:
            own["roles"] = {role: entry.to_json() for role, entry in self.roles.items()}
        return own

    def decisive(self) -> TomlTable:
        """Return what tells models apart, for every role that has a table."""
        roles = {role: entry.decisive() for role, entry in self.roles.items()}
        return super().decisive() | ({"roles": roles} if roles else {})


class KnowledgeSection(Section):
    """Knowledge base for operators."""

    base: str = Field(
        "",
        description="folder of a knowledge base (see: genesys-engine knowledge); default: the"
        " bundled reference cards",
        json_schema_extra=PATH,
    )
    limit: Count = Field(8, description="maximum passages per query")
