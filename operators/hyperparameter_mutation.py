"""Hyper-parameter mutation: other legal values at places that stay as they are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.gab.unit import HyperParameter, Value
from genesys_engine.operators.variation import VariationOptions, attempt, only, sentence
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent


class HyperparameterMutationOptions(VariationOptions):
    """Options of `HyperparameterMutation`."""

    max_changes: int = Field(default=2, ge=1, le=20, description="values changed at most")


@dataclass(frozen=True)
class _Move:
    place: Place
    name: str
    old: Value
    new: Value

    def __str__(self) -> str:
        return f"{self.place.path} {self.name} from {self.old} to {self.new}"


class HyperparameterMutation:
    """Sets hyper-parameters to other values of their `choices` (a bool to its opposite)."""

    arity: tuple[int, int] = (1, 1)

    def __init__(self, options: HyperparameterMutationOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with one to `max_changes` values changed."""
        tree = only(parents)
        knobs = [
            (place, parameter)
            for place in tree.places()
            for parameter in place.node.unit.hyperparameters
            if _others(place, parameter)
        ]
        if not knobs:
            raise OperatorNotApplicable("no hyper-parameter in the tree has another legal value")
        return attempt(parents, self.options, lambda: self._draw(tree, knobs, context.rng))

    def _draw(
        self, tree: GABTree, knobs: list[tuple[Place, HyperParameter]], rng: random.Random
    ) -> Child:
        count = rng.randint(1, min(self.options.max_changes, len(knobs)))
        moves = []
        for place, parameter in rng.sample(knobs, count):
            new = rng.choice(_others(place, parameter))
            moves.append(_Move(place, parameter.name, place.node.values[parameter.name], new))
            tree = tree.with_hyperparameters(place.index, {parameter.name: new})
        details = {
            "moves": [
                {"path": m.place.path, "name": m.name, "from": m.old, "to": m.new} for m in moves
            ]
        }
        return Child(tree, sentence("Set", " and ".join(map(str, moves))), details)


def _others(place: Place, parameter: HyperParameter) -> list[Value]:
    """Return the legal values that a place does not have yet."""
    now = place.node.values[parameter.name]
    if isinstance(parameter.default, bool) and not parameter.choices:
        return [not now]
    return [value for value in parameter.choices if value != now]
