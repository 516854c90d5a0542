"""Facts of the machine that did a task: seconds, bytes, devices.  They decide nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
Fact = float | int | str | None
Facts = Mapping[str, Fact]
"""Facts by name; those that a trainer adds are its own."""
GivenFacts = dict[str, Finite | int | str | None]
"""Facts as a worker or a plugin gives them."""


def number(facts: Facts, name: str, default: float = 0.0) -> float:
    """Return a fact that is a number, or `default` where it is missing or none."""
    fact = facts.get(name)
    return float(fact) if isinstance(fact, int | float) else default
