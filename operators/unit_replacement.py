"""Unit replacement: another unit of the library at one place, over the same children."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.gab.layers import is_pattern
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.growth import Grower, GrowthOptions, library_units
from genesys_engine.operators.variation import (
    attempt,
    choose_place,
    kept_children,
    only,
    sentence,
)
from genesys_engine.plugins.api import Child, OperatorContext, Parent


class UnitReplacementOptions(GrowthOptions):
    """Options of `UnitReplacement`."""


class UnitReplacement:
    """Replaces one unit by another of the library with the same interface.

    Children keep to slots of their interface; slots without one are filled anew, and children
    without a slot are dropped.
    """

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: UnitReplacementOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with one unit replaced."""
        tree = only(parents)
        grower = Grower(self.options, context.rng)
        places = [place for place in tree.places() if _others(place)]
        return attempt(parents, self.options, lambda: self._draw(tree, places, grower))

    def _draw(self, tree: GABTree, places: list[Place], grower: Grower) -> Child:
        place = choose_place(places, grower.rng)
        unit = grower.rng.choice(_others(place))
        kept = kept_children(tree, place.index, [(s.name, s.interface) for s in unit.slots])
        new = grower.around(unit, kept, self.options.max_depth - place.depth)
        change = sentence(f"Replaced {place.path} ({place.node.name}) by {unit.name}")
        details = {"path": place.path, "old": place.node.name, "new": unit.name, "kept": list(kept)}
        return Child(tree.replace(place.index, new), change, details)


def _others(place: Place) -> list[Unit]:
    """Return the library's other units for a place; a pattern of layers is left to `layering`."""
    old = place.node.unit
    if is_pattern(old):
        return []
    return [unit for unit in library_units(old.interface) if unit.digest != old.digest]
