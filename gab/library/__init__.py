"""The library: units written from the papers, and the seed designs that are made of them.

Units lie as source files in `units/`; they are read, never imported.  A unit is known by the
name of its file ("causal_attention").  Each file is read once, when it is first asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

# First of all: a later import of the folder as a package would hide the function `units`.
import genesys_engine.gab.library.units  # noqa: F401  # isort: skip
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree
from genesys_engine.gab.unit import Unit, parse_unit

_FOLDER = Path(__file__).parent / "units"


@cache
def unit_names() -> tuple[str, ...]:
    """Return the names of all units, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("[a-z]*.py")))


@cache
def unit(name: str) -> Unit:
    """Return the unit of this name.

    Raises:
        InputError: there is none; the hint names the nearest.
    """
    if name not in unit_names():
        raise _unknown("unit", name, unit_names())
    path = _FOLDER / f"{name}.py"
    return parse_unit(path.read_text(encoding="utf-8"), where=f"library/units/{name}.py")


@lru_cache(maxsize=64)
def units(interface: str | None = None) -> tuple[Unit, ...]:
    """Return all units, or those of one interface, sorted by the name of their class."""
    every = sorted((unit(name) for name in unit_names()), key=lambda each: each.name)
    return tuple(each for each in every if interface in (None, each.interface))


def seed_names() -> tuple[str, ...]:
    """Return the names of the published designs that evolution starts from, sorted."""
    from genesys_engine.gab.library.seeds import SEEDS

    return tuple(sorted(SEEDS))


def design_names() -> tuple[str, ...]:
    """Return the names of all designs of the library: the seeds, and the hybrids of them."""
    from genesys_engine.gab.library.seeds import HYBRIDS

    return (*seed_names(), *sorted(HYBRIDS))


@cache
def seed(name: str) -> GABTree:
    """Return the design of this name, a seed or a hybrid.

    Raises:
        InputError: there is none; the hint names the nearest.
    """
    from genesys_engine.gab.library.seeds import HYBRIDS, SEEDS

    if name not in design_names():
        raise _unknown("seed", name, design_names())
    return (SEEDS | HYBRIDS)[name]()


def _unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"the library has no {kind} {name!r}", hint=hint)
