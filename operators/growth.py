"""Growing subtrees: slots are filled with units of the library and units of the grammar."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache

from pydantic import Field

from genesys_engine.gab import library
from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.layers import is_pattern
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import Unit, Value
from genesys_engine.operators import grammar
from genesys_engine.operators.variation import NO_WEIGHTS, VariationOptions

_NOTHING: Mapping[str, GABTree] = {}


class GrowthOptions(VariationOptions):
    """Options of the operators that bring in new units."""

    grammar_share: float = Field(
        default=0.5, ge=0.0, le=1.0, description="share of filled slots that the grammar writes"
    )
    tune_share: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="share of a new unit's hyper-parameters that leave their default",
    )


class Grower:
    """Builds subtrees with one generator; equal draws give equal subtrees.

    `place_weights` are those of the context that an operator works in.
    """

    def __init__(
        self,
        options: GrowthOptions,
        rng: random.Random,
        place_weights: Mapping[str, float] = NO_WEIGHTS,
    ) -> None:
        self.options = options
        self.rng = rng
        self.place_weights = place_weights

    def unit(self, interface: str, *, leaf: bool) -> Unit:
        """Return a unit of `interface` from the library or the grammar; `leaf`: without slots.

        Raises:
            TreeError: neither has one.
        """
        if interface in grammar.PRODUCTIONS and self.rng.random() < self.options.grammar_share:
            return grammar.write_unit(interface, self.rng, leaf=leaf)
        known = library_units(interface, leaf=leaf)
        if known:
            return self.rng.choice(known)
        if interface in grammar.PRODUCTIONS:
            return grammar.write_unit(interface, self.rng, leaf=leaf)
        raise TreeError(f"no unit of interface {interface!r} is known that could be grown")

    def subtree(self, interface: str, depth: int) -> GABTree:
        """Return a new subtree with at most `depth` levels below its root."""
        return self.around(self.unit(interface, leaf=depth <= 0), {}, depth)

    def around(
        self, unit: Unit, children: Mapping[str, GABTree] = _NOTHING, depth: int = 1
    ) -> GABTree:
        """Return `unit` over the given children; its other slots are filled with new subtrees.

        Raises:
            TreeError: a slot is to be filled below the depth that is left.
        """
        filled = dict(children)
        for slot in unit.slots:
            if slot.name in filled:
                continue
            if depth <= 0:
                raise TreeError(f"{unit.name} has slots and no level is left for their children")
            filled[slot.name] = self.subtree(slot.interface, depth - 1)
        return grow(unit, filled, **self._tuned(unit))

    def _tuned(self, unit: Unit) -> dict[str, Value]:
        """Return hyper-parameters that leave their default."""
        values: dict[str, Value] = {}
        for parameter in unit.hyperparameters:
            if parameter.choices and self.rng.random() < self.options.tune_share:
                values[parameter.name] = self.rng.choice(parameter.choices)
        return values


@lru_cache(maxsize=64)
def library_units(interface: str, *, leaf: bool = False) -> tuple[Unit, ...]:
    """Return the library's units of an interface in the order of their names.

    Units that choose among blocks by depth are left to `layering`: they are not to be nested.
    """
    units = [unit for unit in library.units(interface) if not is_pattern(unit)]
    return tuple(unit for unit in units if not (leaf and unit.slots))
