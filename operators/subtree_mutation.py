"""Subtree mutation: replace a subtree by a newly grown one."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.operators.growth import Grower, GrowthOptions
from genesys_engine.operators.variation import attempt, choose_place, only, sentence
from genesys_engine.plugins.api import Child, OperatorContext, Parent


class SubtreeMutationOptions(GrowthOptions):
    """Options of `SubtreeMutation`."""


class SubtreeMutation:
    """Replaces a subtree below the root by one grown from the library and the grammar."""

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: SubtreeMutationOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with one subtree replaced."""
        tree = only(parents)
        grower = Grower(self.options, context.rng, context.place_weights)
        places = [place for place in tree.places() if place.parent is not None]
        return attempt(parents, self.options, lambda: self._draw(tree, places, grower))

    def _draw(self, tree: GABTree, places: list[Place], grower: Grower) -> Child:
        place = choose_place(places, grower.rng, grower.place_weights)
        new = grower.subtree(place.node.ret, self.options.max_depth - place.depth)
        size = f"{len(new)} unit" + ("s" if len(new) > 1 else "")
        change = sentence(
            f"Replaced the subtree at {place.path} ({place.node.name})",
            f"by a new one of {size} ({new[0].name})",
        )
        details = {"path": place.path, "old": place.node.name, "new": str(new)}
        return Child(tree.replace(place.index, new), change, details)
