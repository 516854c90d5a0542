"""What designs are called: a seed by its name, any other by its number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from genesys_engine.engine.store import DesignRow

_SEED = "seed:"


def seed_name(operator: str) -> str | None:
    """Return the seed's name of an origin or operator `seed:gpt`, None for a variation."""
    return operator[len(_SEED) :] if operator.startswith(_SEED) else None


def design_names(designs: Iterable[DesignRow]) -> dict[int, str]:
    """Return design number -> seed name, for those of `designs` that are seeds."""
    named = ((row.id, seed_name(row.operator)) for row in designs if row.accepted)
    return {design: name for design, name in named if name is not None}


def label(design: int | None, names: Mapping[int, str]) -> str:
    """Return `gpt` for a seed, `#17` for another design, and a dash for none."""
    if design is None:
        return "–"
    return names.get(design, f"#{design}")
