"""Unit replacement: another unit of the library at one place, over the same children."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from genesys_engine.gab.layers import is_pattern
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.growth import Grower, GrowthOptions, library_units
from genesys_engine.operators.variation import (
    attempt,
    kept_children,
    only,
    sentence,
)
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent


class UnitReplacementOptions(GrowthOptions):
    """Options of `UnitReplacement`."""

    remembered: int = Field(
        default=200,
        ge=0,
        description="newest children of the parent whose replacements are not drawn again",
    )


class UnitReplacement:
    """Replaces one unit by another of the library with the same interface.

    Children keep to slots of their interface; slots without one are filled anew, and children
    without a slot are dropped.

    The neighbours of a design, which are the pairs of a place and another unit, are equally likely,
    and what was tried on the parent already is left out: as many draws with replacement would miss
    a third of them.  When all were tried, other operators have their turn.
    """

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: UnitReplacementOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with one unit replaced."""
        tree = only(parents)
        grower = Grower(self.options, context.rng, context.place_weights)
        history = context.history(parents[0].design, self.options.remembered)
        tried = {each.change for each in history.children}
        every = [(place, unit) for place in tree.places() for unit in _others(place)]
        left = [pair for pair in every if _change(*pair) not in tried]
        if not left:
            raise OperatorNotApplicable("each other unit of the library was tried in each place")
        return attempt(parents, self.options, lambda: self._draw(tree, left, grower))

    def _draw(self, tree: GABTree, pairs: Sequence[tuple[Place, Unit]], grower: Grower) -> Child:
        if grower.place_weights:
            weights = [grower.place_weights.get(place.node.ret, 1.0) for place, _ in pairs]
            ((place, unit),) = grower.rng.choices(pairs, weights)
        else:
            place, unit = grower.rng.choice(pairs)
        kept = kept_children(tree, place.index, [(s.name, s.interface) for s in unit.slots])
        new = grower.around(unit, kept, self.options.max_depth - place.depth)
        details = {"path": place.path, "old": place.node.name, "new": unit.name, "kept": list(kept)}
        return Child(tree.replace(place.index, new), _change(place, unit), details)


def _change(place: Place, unit: Unit) -> str:
    return sentence(f"Replaced {place.path} ({place.node.name}) by {unit.name}")


def _others(place: Place) -> list[Unit]:
    """Return the library's other units for a place; a pattern of layers is left to `layering`."""
    old = place.node.unit
    if is_pattern(old):
        return []
    return [unit for unit in library_units(old.interface) if unit.digest != old.digest]
