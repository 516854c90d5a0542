"""Typed crossover: a subtree of one parent takes the place of one of the same interface."""

from __future__ import annotations

import random
from collections.abc import Sequence

from genesys_engine.gab.layers import is_pattern
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.operators.variation import (
    VariationOptions,
    attempt,
    choose_place,
    kept_children,
    sentence,
)
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent


class TypedCrossoverOptions(VariationOptions):
    """Options of `TypedCrossover`."""


class TypedCrossover:
    """Puts a subtree of the second parent into the first; the root blocks may differ.

    Where the root is drawn, the second parent's root block takes over the first parent's
    children; slots that stay free keep the second parent's.
    """

    arity: tuple[int, int] = (2, 2)

    def __init__(self, options: TypedCrossoverOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the first parent with a part of the second."""
        if len(parents) != 2:
            raise OperatorNotApplicable(f"needs two parents, got {len(parents)}")
        receiver, donor = parents
        gifts = _gifts(receiver.tree, donor.tree)
        places = [place for place in receiver.tree.places() if gifts.get(place.index)]

        def draw() -> Child:
            place = choose_place(places, context.rng, context.place_weights)
            if place.parent is None:
                return _cross_root(receiver.tree, donor)
            return _cross(receiver.tree, place, donor, gifts[place.index], context.rng)

        return attempt(parents, self.options, draw)


def _gifts(receiver: GABTree, donor: GABTree) -> dict[int, list[Place]]:
    """Return, by place of the receiver, the donor's places of its interface that differ."""
    offered = [(place, donor.subtree(place.index).digest) for place in donor.places()]
    gifts: dict[int, list[Place]] = {}
    for place in receiver.places():
        own = receiver.subtree(place.index).digest
        fitting = [p for p, digest in offered if p.node.ret == place.node.ret and digest != own]
        if place.parent is None:  # only root for root: anything else would be a copy of the donor
            same = donor[0].digest == place.node.digest
            alike = is_pattern(donor[0].unit) == is_pattern(place.node.unit)
            fitting = [p for p in fitting if p.parent is None and alike and not same]
        gifts[place.index] = fitting
    return gifts


def _cross(
    receiver: GABTree, place: Place, donor: Parent, gifts: list[Place], rng: random.Random
) -> Child:
    gift = rng.choice(gifts)
    change = sentence(
        f"Crossed over: took {gift.path} ({gift.node.name}) of design {donor.design}",
        f"in place of {place.node.name}",
        "" if gift.path == place.path else f"at {place.path}",
    )
    details = {"path": place.path, "donor": donor.design, "from": gift.path, "new": gift.node.name}
    return Child(receiver.replace(place.index, donor.tree.subtree(gift.index)), change, details)


def _cross_root(receiver: GABTree, donor: Parent) -> Child:
    """Return the donor's root over the receiver's children."""
    root = donor.tree[0]
    kept = kept_children(receiver, 0, [(s.name, s.interface) for s in root.unit.slots])
    own = donor.tree.children(0)
    parts = [kept.get(name) or donor.tree.subtree(at) for name, at in own.items()]
    tree = GABTree([root, *(node for part in parts for node in part)])
    change = sentence(
        f"Crossed over: took the root block ({root.name}) of design {donor.design}",
        f"in place of {receiver[0].name}",
    )
    details = {"path": "root", "donor": donor.design, "from": "root", "new": root.name}
    return Child(tree, change, details)
