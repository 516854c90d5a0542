"""Insertion: wrap a subtree in a unit that has a slot of the subtree's interface."""

from __future__ import annotations

import random
from collections.abc import Sequence

from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.gab.unit import Unit
from genesys_engine.operators import grammar
from genesys_engine.operators.growth import Grower, GrowthOptions, library_units
from genesys_engine.operators.variation import attempt, choose_place, only, sentence
from genesys_engine.plugins.api import Child, OperatorContext, Parent


class InsertionOptions(GrowthOptions):
    """Options of `Insertion`."""


class Insertion:
    """Wraps a subtree in a unit that has a slot for it: a gate, a norm before, a blend.

    The wrapper comes from the library where one fits, or is written by the grammar.
    """

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: InsertionOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with one unit more, or several where the wrapper has other slots."""
        tree = only(parents)
        grower = Grower(self.options, context.rng, context.place_weights)
        places = [place for place in tree.places() if _can_wrap(place.node.ret)]
        return attempt(parents, self.options, lambda: self._draw(tree, places, grower))

    def _draw(self, tree: GABTree, places: list[Place], grower: Grower) -> Child:
        place = choose_place(places, grower.rng, grower.place_weights)
        inner = tree.subtree(place.index)
        room = self.options.max_depth - place.depth
        unit = self._wrapper(place.node.ret, grower.rng)
        slot = next(s.name for s in unit.slots if s.interface == place.node.ret)
        new = grower.around(unit, {slot: inner}, room)
        others = [new[at].name for name, at in new.children(0).items() if name != slot]
        change = sentence(
            f"Wrapped {place.path} ({place.node.name}) in {unit.name}",
            f"with {' and '.join(others)}" if others else "",
        )
        details = {"path": place.path, "inner": place.node.name, "wrapper": unit.name}
        return Child(tree.replace(place.index, new), change, details)

    def _wrapper(self, interface: str, rng: random.Random) -> Unit:
        known = _library_wrappers(interface)
        written = interface in grammar.PRODUCTIONS
        if known and (not written or rng.random() >= self.options.grammar_share):
            return rng.choice(known)
        return grammar.write_wrapper(interface, rng)


def _can_wrap(interface: str) -> bool:
    return interface in grammar.PRODUCTIONS or bool(_library_wrappers(interface))


def _library_wrappers(interface: str) -> list[Unit]:
    """Return the library's units that have a slot of their own interface."""
    return [
        unit
        for unit in library_units(interface)
        if any(slot.interface == interface for slot in unit.slots)
    ]
