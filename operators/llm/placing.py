"""Putting a unit at a place of a tree: kept children, and the nearest unit for a new slot."""

from __future__ import annotations

import re
from collections.abc import Mapping

from genesys_engine.gab import library
from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.layers import is_pattern
from genesys_engine.gab.tree import GABTree, Place, grow
from genesys_engine.gab.unit import Slot, Unit, Value
from genesys_engine.operators.variation import kept_children

_DEEPEST = 3
_NONE: Mapping[str, GABTree] = {}


def find(tree: GABTree, path: str) -> Place | None:
    """Return the place of this path, or None."""
    return next((place for place in tree.places() if place.path == path), None)


def place_unit(
    tree: GABTree,
    path: str,
    unit: Unit,
    *,
    like: GABTree | None = None,
    children: Mapping[str, GABTree] = _NONE,
) -> GABTree:
    """Return `tree` with `unit` at `path`.

    Children continue under slots of their interface, and hyper-parameters under their names.  A
    slot without a child gets the one of `children`, the child that `like` has at this path, or
    the nearest unit of the library.

    Raises:
        TreeError: the path does not exist, the interface differs, or a slot cannot be filled.
    """
    place = find(tree, path)
    if place is None:
        raise TreeError(f"there is no unit at {path}", where=path)
    kept = kept_children(tree, place.index, [(slot.name, slot.interface) for slot in unit.slots])
    other = find(like, path) if like is not None else None
    for slot in unit.slots:
        if slot.name in children:
            kept[slot.name] = children[slot.name]
        elif slot.name not in kept and like is not None and other is not None:
            at = like.children(other.index).get(slot.name)
            if at is not None and like[at].ret == slot.interface:
                kept[slot.name] = like.subtree(at)
        if slot.name not in kept:
            kept[slot.name] = nearest(slot)
    grown = grow(unit, kept, **_values(place, unit))
    return tree.replace(place.index, grown)


def _values(place: Place, unit: Unit) -> dict[str, Value]:
    """Return the hyper-parameters of the place that the new unit has as well."""
    kept: dict[str, Value] = {}
    known = {parameter.name: parameter for parameter in unit.hyperparameters}
    for name, value in place.node.hyperparameters:
        if name in known:
            try:
                kept[name] = known[name].checked(value)
            except TypeError:
                continue
    return kept


def nearest(slot: Slot, depth: int = 0) -> GABTree:
    """Return a subtree of library units for a slot: by reference, so it costs no token.

    Nearest is the unit whose name and docstring share most words with the requirement; of equal
    ones the simplest.

    Raises:
        TreeError: the library has no unit of the interface.
    """
    units = library.units(slot.interface)
    known = [unit for unit in units if not (unit.inputs or is_pattern(unit))]
    if depth >= _DEEPEST:
        known = [unit for unit in known if not unit.slots]
    if not known:
        interfaces = sorted({unit.interface for unit in library.units()})
        hint = f"use one of these interfaces: {', '.join(interfaces)}"
        raise TreeError(f"no unit offers the interface {slot.interface!r}", hint=hint)
    asked = _words(f"{slot.name} {slot.requirement}")

    def order(unit: Unit) -> tuple[int, int, int, str]:
        shared = len(asked & _words(f"{spaced(unit.name)} {unit.doc.partition(chr(10))[0]}"))
        return -shared, len(unit.slots), len(unit.source), unit.name

    unit = min(known, key=order)
    return grow(unit, {each.name: nearest(each, depth + 1) for each in unit.slots})


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in _COMMON}


def spaced(name: str) -> str:
    """Return the name of a class as words: RMSNorm as "RMSNorm", GatedBlock as "Gated Block"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)


_COMMON = frozenset({"the", "and", "for", "with", "that", "its", "from", "are", "over", "what"})
