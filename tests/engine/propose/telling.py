"""A plugin with an operator that tells in its child's details what it was told of its parents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from genesys_engine.plugins.api import (
    Child,
    DesignAbandoned,
    OperatorContext,
    Parent,
    Register,
    grow,
    hookimpl,
    library,
)


class Telling:
    """Replaces a norm by chance, or gives the design up."""

    arity = (1, 2)

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        told = [asdict(context.history(parent.design, 4)) for parent in parents]
        tree, rng = parents[0].tree, context.rng
        if rng.random() < 0.3:
            idea = f"An idea of design {parents[0].design}, too bold."
            raise DesignAbandoned(idea, code="telling.bold", details={"told": told})
        place = rng.choice([place for place in tree.places() if place.node.ret == "norm"])
        unit = rng.choice([unit for unit in library.units("norm") if not unit.slots])
        values = {
            each.name: rng.choice(each.choices) for each in unit.hyperparameters if each.choices
        }
        child = tree.replace(place.index, grow(unit, **values))
        return Child(child, f"Put {unit.name} {values} at {place.path}.", {"told": told})


@hookimpl
def genesys_register_operators(register: Register) -> None:
    register("telling", f"{__name__}:Telling", summary="Tells what it was told.")
