"""New unit: the grammar writes a unit for one place, over the same children."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.gab.layers import is_pattern
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.operators import grammar
from genesys_engine.operators.growth import Grower, GrowthOptions
from genesys_engine.operators.variation import (
    attempt,
    choose_place,
    kept_children,
    only,
    sentence,
)
from genesys_engine.plugins.api import Child, OperatorContext, Parent


class NewUnitOptions(GrowthOptions):
    """Options of `NewUnit`."""


class NewUnit:
    """Replaces one unit by a new one, written by the grammar.

    Children keep to slots of their interface; slots without one are filled anew, and children
    without a slot are dropped.
    """

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: NewUnitOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with one unit replaced by a new one."""
        tree = only(parents)
        grower = Grower(self.options, context.rng, context.place_weights)
        places = [
            place
            for place in tree.places()
            if place.node.ret in grammar.PRODUCTIONS and not is_pattern(place.node.unit)
        ]
        return attempt(parents, self.options, lambda: self._draw(tree, places, grower))

    def _draw(self, tree: GABTree, places: list[Place], grower: Grower) -> Child:
        place = choose_place(places, grower.rng, grower.place_weights)
        room = self.options.max_depth - place.depth
        unit = grammar.write_unit(place.node.ret, grower.rng, leaf=room <= 0)
        kept = kept_children(tree, place.index, [(s.name, s.interface) for s in unit.slots])
        new = grower.around(unit, kept, room)
        title = " ".join(unit.doc.split("\n\n")[0].split())
        what = f"Replaced {place.path} ({place.node.name}) by the new unit {unit.name}:"
        details = {"path": place.path, "old": place.node.name, "new": unit.name, "kept": list(kept)}
        return Child(tree.replace(place.index, new), sentence(what, title), details)
