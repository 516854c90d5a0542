"""What designs and rungs are called: a seed by its name, any other design by its number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from genesys_engine.engine.store.run_store import DesignRow, Store
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.registry import suggest

_SEED = "seed:"
_NUMBER = re.compile(r"#?[0-9]{1,18}")


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


def find_design(store: Store, text: str) -> int:
    """Return the number of the design that `text` names: `17`, `#17`, or a seed's name.

    Raises:
        InputError: there is no such design; the hint names near ones.
    """
    if _NUMBER.fullmatch(text):
        return store.design(int(text.removeprefix("#"))).id
    names = design_names(store.designs())
    for design, name in names.items():
        if name == text:
            return design
    raise InputError(
        f"this run has no design {text!r}",
        where=str(store.folder),
        hint=f"{suggest(text, names.values())} (seeds go by their name, all designs by number)",
    )


def scale_names(store: Store) -> tuple[str, ...]:
    """Return the names of the ladder's scales, lowest first."""
    rungs = store.meta("experiment")["ladder"]["rungs"]
    return tuple(rung["scale"] for rung in rungs)
