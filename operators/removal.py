"""Removal: replace a unit by one of its children of the same interface."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.operators.variation import VariationOptions, attempt, choose_place, heirs, only
from genesys_engine.plugins.api import Child, OperatorContext, Parent


class RemovalOptions(VariationOptions):
    """Options of `Removal`."""


class Removal:
    """Takes one unit away and puts a child of the same interface in its place."""

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: RemovalOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with at least one unit less.

        Raises:
            OperatorNotApplicable: no unit has a child of its own interface.
        """
        tree = only(parents)
        places = [place for place in tree.places() if heirs(tree, place.index)]

        def draw() -> Child:
            place = choose_place(places, context.rng, context.place_weights)
            slot, heir = context.rng.choice(list(heirs(tree, place.index).items()))
            name = tree[heir].name
            change = f"Removed {place.node.name} at {place.path} and kept its {slot} ({name})."
            details = {"path": place.path, "removed": place.node.name, "kept": name}
            return Child(tree.replace(place.index, tree.subtree(heir)), change, details)

        return attempt(parents, self.options, draw)
