"""What all sections are made of: strict tables, and tables that use a component."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from genesys_engine.engine.common.options import PluginOptions, TomlTable

Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Component(Section):
    """One use of a component: `use = "name"`, and the plugin's own options next to it.

    `options` holds all of them, defaults included, as JSON: this is what workers receive.
    """

    use: str = Field(description="name of the component; see: genesys-engine plugins list")
    options: PluginOptions = Field(default_factory=dict)
    _incidental: frozenset[str] = PrivateAttr(frozenset())

    def to_json(self) -> TomlTable:
        """Return the table as it would stand in the file."""
        own = self.model_dump(mode="json", exclude={"options"}, exclude_none=True)
        return {**own, **self.options}

    def decisive(self) -> TomlTable:
        """Return `use` and the options that change a result."""
        kept = {k: v for k, v in self.options.items() if k not in self._incidental}
        return {"use": self.use} | kept


class OperatorEntry(Component):
    """A variation operator and how often it is drawn."""

    weight: float = Field(1.0, gt=0, allow_inf_nan=False, description="relative frequency")


class EvaluatorEntry(Component):
    """An evaluator, and where on the ladder it is asked."""

    rungs: tuple[str, ...] | None = Field(
        None,
        description="scales of the rungs that it scores at; left out: all. Score tasks that are"
        " too hard for small models only at upper rungs",
    )

    def scores_at(self, scale: str) -> bool:
        """Tell whether it is asked at the rung of a scale."""
        return self.rungs is None or scale in self.rungs
