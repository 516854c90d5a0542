"""Layering: layers are made to differ, put in another order, exchanged, and made alike again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from pydantic import Field

from genesys_engine.gab import library
from genesys_engine.gab.interfaces import ROOT_INTERFACE
from genesys_engine.gab.layers import is_pattern, kinds_of
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import Unit, Value
from genesys_engine.operators.growth import Grower, GrowthOptions
from genesys_engine.operators.variation import attempt, choose_place, sentence
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent

_MIXERS = ("sequence_mixer", "channel_mixer")


class LayeringOptions(GrowthOptions):
    """Options of `Layering`."""

    seed_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="share of new kinds of layer that are a seed; the others are the parent's own"
        " block with a new mixer",
    )


class Layering:
    """Changes which block a layer is, by its depth.

    Of a design whose layers are alike it makes one with layers of two kinds: its own and a seed,
    its own with another mixer, or that of a second parent.  Where layers differ it reorders them,
    swaps two kinds, puts a seed or one with another mixer in the place of one or next to them,
    takes a block of the second parent, or makes all layers alike.  Patterns are not nested: a kind
    of layer within another might never be built.

    Seeds are those of the experiment and of the library: a run that begins from one seed would
    else have no partner for it.
    """

    arity: tuple[int, int] = (1, 2)

    def __init__(self, options: LayeringOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the first parent with other layers."""
        if not 1 <= len(parents) <= 2:
            raise OperatorNotApplicable(f"needs one parent or two, got {len(parents)}")
        tree, rng = parents[0].tree, context.rng
        at = pattern_at(tree)
        if len(parents) == 2:
            return attempt(parents, self.options, lambda: _merge(tree, at, parents[1], rng))
        grower, names = Grower(self.options, rng, context.place_weights), _partners(context.seeds)
        if at is None:
            return attempt(parents, self.options, lambda: self._make(tree, names, grower))
        moves: list[Callable[[], Child]] = [
            lambda: _reorder(tree, at, rng),
            lambda: _swap(tree, at, rng),
            lambda: _dissolve(tree, at, rng),
            lambda: self._exchange(tree, at, names, grower),
            lambda: self._exchange(tree, at, names, grower),
        ]
        return attempt(parents, self.options, lambda: rng.choice(moves)())

    def _make(self, tree: GABTree, names: Sequence[str], grower: Grower) -> Child:
        """Return a design of two kinds of layer: the parent's, and another."""
        other, said = self._other(tree, 0, names, grower)
        made, order = _pattern_over(_mixed([tree, other], grower.rng), grower.rng)
        change = sentence("Made layers differ: the parent's block and", said, f"in {order}")
        return Child(made, change, {"move": "make", "order": order})

    def _exchange(self, tree: GABTree, at: int, names: Sequence[str], grower: Grower) -> Child:
        """Return layers with another kind: in the place of one, or as a further one."""
        slot, index = grower.rng.choice(list(kinds_of(tree, at).items()))
        depth = tree.places()[index].depth
        other, said = self._other(tree.subtree(index), depth, names, grower)
        put, more = _with_kind(tree, at, slot, other, grower.rng)
        if more:
            change = sentence(f"Added layers of {said} to {_order(tree, at)}: {more}")
        else:
            change = sentence(f"Put {said} in place of the layers {slot} ({tree[index].name})")
        return Child(put, change, {"move": "add" if more else "exchange", "slot": slot})

    def _other(
        self, block: GABTree, depth: int, names: Sequence[str], grower: Grower
    ) -> tuple[GABTree, str]:
        """Return another kind of layer than `block`, which lies `depth` levels deep, in words."""
        if names and grower.rng.random() < self.options.seed_share:
            name = grower.rng.choice(names)
            return _block_of(library.seed(name), grower.rng), f"the seed {name}"
        places = [place for place in block.places() if place.node.ret in _MIXERS]
        place = choose_place(places, grower.rng, grower.place_weights)
        # One level goes to the pattern.
        room = self.options.max_depth - max(depth, 1) - place.depth
        new = grower.subtree(place.node.ret, room)
        return block.replace(place.index, new), f"the same with {new[0].name} at {place.path}"


def _partners(seeds: Sequence[str]) -> list[str]:
    """Return the seeds of the experiment that the library knows, and those of the library."""
    known = library.design_names()
    return list(dict.fromkeys([*(s for s in seeds if s in known), *library.seed_names()]))


def _with_kind(
    tree: GABTree, at: int, slot: str, other: GABTree, rng: random.Random
) -> tuple[GABTree, str]:
    """Return a tree with another kind of layer, and the new order where it is a further one."""
    blocks = _blocks(tree, at)
    if len(blocks) == _most_slots() or rng.random() < 0.5:
        return tree.replace(kinds_of(tree, at)[slot], other), ""
    made, order = _pattern_over(_mixed([*blocks, other], rng), rng)
    return tree.replace(at, made), order


def pattern_at(tree: GABTree) -> int | None:
    """Return the index of the unit that chooses among blocks by depth, None where there is none."""
    return next((index for index, node in enumerate(tree) if is_pattern(node.unit)), None)


def _reorder(tree: GABTree, at: int, rng: random.Random) -> Child:
    """Return the same kinds of layer in another order."""
    made, order = _pattern_over(_blocks(tree, at), rng)
    change = sentence(f"Reordered the layers from {_order(tree, at)} to {order}")
    return Child(tree.replace(at, made), change, {"move": "reorder", "order": order})


def _swap(tree: GABTree, at: int, rng: random.Random) -> Child:
    """Return two kinds of layer in each other's places."""
    slots = list(kinds_of(tree, at))
    one, other = rng.sample(slots, 2)
    children = {slot: tree.subtree(index) for slot, index in tree.children(at).items()}
    children[one], children[other] = children[other], children[one]
    made = grow(tree[at].unit, children, **tree[at].values)
    change = sentence(f"Swapped the layers {one} and {other} of {_order(tree, at)}")
    return Child(tree.replace(at, made), change, {"move": "swap", "slots": [one, other]})


def _dissolve(tree: GABTree, at: int, rng: random.Random) -> Child:
    """Return layers that are all of one of the kinds."""
    slot, index = rng.choice(list(kinds_of(tree, at).items()))
    change = sentence(f"Made all layers alike: those of {slot} ({tree[index].name})")
    return Child(tree.replace(at, tree.subtree(index)), change, {"move": "dissolve", "kept": slot})


def _merge(tree: GABTree, at: int | None, donor: Parent, rng: random.Random) -> Child:
    """Return the first parent with a kind of layer of the second."""
    gift = _block_of(donor.tree, rng)
    said = f"{gift[0].name} of design {donor.design}"
    if at is None:
        whole, order = _pattern_over(_mixed([tree, gift], rng), rng)
    else:
        slot, index = rng.choice(list(kinds_of(tree, at).items()))
        whole, order = _with_kind(tree, at, slot, gift, rng)
        if not order:
            change = sentence(f"Took the layers of {said} in place of {slot} ({tree[index].name})")
            return Child(whole, change, {"move": "merge", "slot": slot})
    change = sentence(f"Merged layers of {said} with those of the parent in {order}")
    return Child(whole, change, {"move": "merge", "order": order})


def _pattern_over(blocks: Sequence[GABTree], rng: random.Random) -> tuple[GABTree, str]:
    """Return a pattern of the library over these blocks, and what it is called."""
    unit = rng.choice(_patterns(len(blocks)))
    values: dict[str, Value] = {
        parameter.name: rng.choice(parameter.choices)
        for parameter in unit.hyperparameters
        if parameter.choices
    }
    slots = [slot.name for slot in unit.slots]
    made = grow(unit, dict(zip(slots, blocks, strict=True)), **values)
    return made, _order(made, 0)


def _patterns(count: int) -> list[Unit]:
    """Return the library's patterns of so many blocks and nothing else."""
    units = library.units(ROOT_INTERFACE)
    return [unit for unit in units if is_pattern(unit) and len(unit.slots) == count]


def _most_slots() -> int:
    return max(len(unit.slots) for unit in library.units(ROOT_INTERFACE) if is_pattern(unit))


def _order(tree: GABTree, at: int) -> str:
    """Return a pattern in words: its name and its values."""
    values = ", ".join(str(value) for value in tree[at].values.values())
    return f"{tree[at].name}({values})"


def _blocks(tree: GABTree, at: int) -> list[GABTree]:
    return [tree.subtree(index) for index in kinds_of(tree, at).values()]


def _block_of(tree: GABTree, rng: random.Random) -> GABTree:
    """Return a block without a pattern: the tree, or one of the kinds of its layers."""
    at = pattern_at(tree)
    return tree if at is None else rng.choice(_blocks(tree, at))


def _mixed(blocks: list[GABTree], rng: random.Random) -> list[GABTree]:
    return rng.sample(blocks, len(blocks))
