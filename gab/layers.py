"""How the layers of a stack differ: a block may choose its parts by `block_loc`.

What differs is found by building, not by reading: every layer of a stack is built without memory,
and two layers are of one kind where they hold the same modules with parameters of the same shapes.
So it does not matter who wrote the unit that chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.interfaces import ROOT_INTERFACE

if TYPE_CHECKING:
    from genesys_engine.gab.tree import GABTree
    from genesys_engine.gab.unit import Unit

LOOKED_AT = 12
"""Layers that are built to see how they differ: twice the longest period that is looked for."""
_WIDTH = 64


@dataclass(frozen=True)
class Layers:
    """How layers differ in a stack of `LOOKED_AT`.

    `kinds` numbers the kinds in the order of their first layer; `fewest` is the smallest number
    of layers that shows every kind; `period` is that of a repeated pattern, 1 where there is none.
    """

    kinds: tuple[int, ...] = (0,)
    fewest: int = 1
    period: int = 1

    @property
    def differ(self) -> bool:
        """Whether there is more than one kind."""
        return len(set(self.kinds)) > 1

    def whole(self, n_blocks: int) -> int:
        """Return the number of layers nearest to `n_blocks` that repeats the pattern in full.

        No pattern is cut: the ratio of the kinds is the same at every scale.
        """
        repeats = max(1, round(n_blocks / self.period))
        return max(repeats * self.period, self.fewest)


ALIKE = Layers()
"""All layers are of one kind."""


def read_layers(structure: Callable[[int], Sequence[str]]) -> Layers:
    """Return how layers differ; `structure(n)` describes every layer of a stack of n."""
    seen = structure(LOOKED_AT)
    found = list(dict.fromkeys(seen))
    if len(found) == 1:
        return ALIKE
    kinds = tuple(found.index(each) for each in seen)
    periods = range(2, LOOKED_AT // 2 + 1)
    period = next((p for p in periods if kinds[p:] == kinds[:-p]), 1)
    depths = range(1, LOOKED_AT)
    fewest = next((n for n in depths if set(structure(n)) >= set(found)), LOOKED_AT)
    return Layers(kinds, fewest, period)


def structure_of(block_class: Any, n_blocks: int) -> list[str]:
    """Return a digest of the modules and parameters' shapes of every layer of a stack."""
    from genesys_engine.gab.meta import on_meta

    def digest(index: int) -> str:
        block = on_meta(lambda: block_class(_WIDTH, (index, n_blocks), device="meta"))
        modules = [(name, type(module).__name__) for name, module in block.named_modules()]
        shapes = [(name, tuple(each.shape)) for name, each in block.named_parameters()]
        return hashlib.sha256(repr((modules, shapes)).encode()).hexdigest()[:16]

    return [digest(index) for index in range(n_blocks)]


def is_pattern(unit: Unit) -> bool:
    """Tell whether a unit holds several whole blocks, to choose among them by depth."""
    slots = [slot for slot in unit.slots if slot.interface == ROOT_INTERFACE]
    return unit.interface == ROOT_INTERFACE and len(slots) > 1


def kinds_of(tree: GABTree, at: int) -> dict[str, int]:
    """Return the index of every kind of layer of the pattern at an index, by its slot."""
    return {s: i for s, i in tree.children(at).items() if tree[i].ret == ROOT_INTERFACE}


def pattern_fault(tree: GABTree) -> str:
    """Return why a pattern of the tree is none, or "".

    Within another some of its blocks might never be built; equal blocks are one kind of layer.
    """
    inside: dict[int, bool] = {}
    for place in tree.places():
        below = place.parent is not None and inside[place.parent]
        pattern = is_pattern(place.node.unit)
        inside[place.index] = below or pattern
        if pattern and below:
            return f"{place.path} is a pattern of layers within another"
        if pattern:
            kinds = kinds_of(tree, place.index).values()
            if len({tree.subtree(index).digest for index in kinds}) < len(kinds):
                return f"{place.path} is a pattern with two kinds of layer that are the same"
    return ""
