"""What all operators share: size limits, bounded tries, and choosing places fairly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from pydantic import Field

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.layers import pattern_fault
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.plugins.api import Child, OperatorNotApplicable, Options, Parent


class VariationOptions(Options):
    """Limits that a child keeps; a parent beyond them may still have children of its own size."""

    max_depth: int = Field(default=6, ge=1, le=40, description="levels below the root")
    max_nodes: int = Field(default=40, ge=1, le=1000, description="units in a tree")
    tries: int = Field(default=20, ge=1, le=1000, description="draws before giving up")


def attempt(
    parents: Sequence[Parent], options: VariationOptions, draw: Callable[[], Child]
) -> Child:
    """Draw children until one is valid, within the limits, and unlike every parent.

    A draw that raises `TreeError` counts as a try.

    Raises:
        OperatorNotApplicable: no draw of `options.tries` succeeded, or `draw` itself raised it.
    """
    known = {parent.tree.digest for parent in parents}
    depth = max([options.max_depth, *(parent.tree.height for parent in parents)])
    nodes = max([options.max_nodes, *(len(parent.tree) for parent in parents)])
    reason = ""
    for _ in range(options.tries):
        try:
            child = draw()
            child.tree.validate()
        except TreeError as error:
            reason = error.message
            continue
        if child.tree.digest in known:
            reason = "the child equals a parent"
        elif fault := pattern_fault(child.tree):
            reason = fault
        elif child.tree.height > depth or len(child.tree) > nodes:
            reason = f"the child exceeds {depth} levels or {nodes} units"
        else:
            return child
    raise OperatorNotApplicable(f"no child in {options.tries} tries; the last: {reason}")


PULL: Mapping[str, int] = MappingProxyType(
    {"block": 3, "sequence_mixer": 3, "channel_mixer": 3, "local_mixer": 2}
)
"""How often places of an interface are drawn; the others once.

What a design computes is decided by what mixes positions and channels, and by how the block joins
them; norms, positions and inner recurrences would else be half of all draws.
"""


NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})


def choose_place(
    places: Iterable[Place], rng: random.Random, weights: Mapping[str, float] = NO_WEIGHTS
) -> Place:
    """Return a place: first an interface is drawn, by its `PULL`, then a place that offers it.

    Norms outnumber mixers in a tree, so a uniform draw would hardly ever touch a mixer.

    Args:
        weights: by interface, a factor of its `PULL` (`OperatorContext.place_weights`).

    Raises:
        OperatorNotApplicable: there is no place.
    """
    groups: dict[str, list[Place]] = {}
    for place in places:
        groups.setdefault(place.node.ret, []).append(place)
    if not groups:
        raise OperatorNotApplicable("no place in the tree suits this operator")
    names = sorted(groups)
    (name,) = rng.choices(names, [PULL.get(each, 1) * weights.get(each, 1.0) for each in names])
    return rng.choice(groups[name])


def heirs(tree: GABTree, index: int) -> dict[str, int]:
    """Return the children of a node, by slot, that could take its place."""
    ret = tree[index].ret
    return {slot: at for slot, at in tree.children(index).items() if tree[at].ret == ret}


def kept_slots(tree: GABTree, index: int, slots: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return which child of a node continues in which new slot, given as (name, interface).

    A child goes to the slot of its own name if the interface fits, else to the first free slot
    of its interface; each child is used once.
    """
    node, slots = tree[index], list(slots)
    free = {slot.name: slot.interface for slot in node.unit.slots}
    kept: dict[str, str] = {}
    for name, interface in slots:
        if free.get(name) == interface:
            kept[name] = name
            del free[name]
    for name, interface in slots:
        fitting = [slot for slot in free if tree[tree.children(index)[slot]].ret == interface]
        if name not in kept and fitting:
            kept[name] = fitting[0]
            del free[fitting[0]]
    return {name: kept[name] for name, _ in slots if name in kept}


def kept_children(
    tree: GABTree, index: int, slots: Iterable[tuple[str, str]]
) -> dict[str, GABTree]:
    """Return the children of a node that continue under new slots (see `kept_slots`)."""
    at = tree.children(index)
    return {new: tree.subtree(at[old]) for new, old in kept_slots(tree, index, slots).items()}


def only(parents: Sequence[Parent]) -> GABTree:
    """Return the tree of the one parent; `OperatorNotApplicable` for another number."""
    if len(parents) != 1:
        raise OperatorNotApplicable(f"needs one parent, got {len(parents)}")
    return parents[0].tree


def sentence(*parts: str) -> str:
    """Return the parts as one sentence that ends in a full stop."""
    return " ".join(part for part in parts if part).rstrip(". ") + "."
