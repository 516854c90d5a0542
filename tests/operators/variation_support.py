"""The operators with small helpers that several tests share."""

from __future__ import annotations

import random
from collections.abc import Sequence

from genesys_engine.gab import library
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.hyperparameter_mutation import (
    HyperparameterMutation,
    HyperparameterMutationOptions,
)
from genesys_engine.operators.insertion import Insertion, InsertionOptions
from genesys_engine.operators.layering import Layering, LayeringOptions
from genesys_engine.operators.new_unit import NewUnit, NewUnitOptions
from genesys_engine.operators.removal import Removal, RemovalOptions
from genesys_engine.operators.seed_design import SeedDesign, SeedDesignOptions
from genesys_engine.operators.subtree_mutation import SubtreeMutation, SubtreeMutationOptions
from genesys_engine.operators.typed_crossover import TypedCrossover, TypedCrossoverOptions
from genesys_engine.operators.unit_replacement import UnitReplacement, UnitReplacementOptions
from genesys_engine.plugins.api import Child, Operator, OperatorContext, Parent

OPERATORS: dict[str, Operator] = {
    "hyperparameter-mutation": HyperparameterMutation(HyperparameterMutationOptions()),
    "unit-replacement": UnitReplacement(UnitReplacementOptions()),
    "layering": Layering(LayeringOptions()),
    "new-unit": NewUnit(NewUnitOptions()),
    "subtree-mutation": SubtreeMutation(SubtreeMutationOptions()),
    "insertion": Insertion(InsertionOptions()),
    "removal": Removal(RemovalOptions()),
    "typed-crossover": TypedCrossover(TypedCrossoverOptions()),
    "seed-design": SeedDesign(SeedDesignOptions()),
}
SEEDS = library.seed_names()


def parents_of(trees: Sequence[GABTree]) -> list[Parent]:
    return [Parent(design, tree, None, "") for design, tree in enumerate(trees, 1)]


def apply(operator: Operator, trees: Sequence[GABTree], seed: int) -> Child:
    return operator(parents_of(trees), OperatorContext(random.Random(seed)))


def wrapped(seed: int) -> GABTree:
    """Return a seed tree after two insertions, on which removal has something to do."""
    tree = library.seed(SEEDS[seed % len(SEEDS)])
    for step in range(2):
        tree = apply(OPERATORS["insertion"], [tree], 1000 * seed + step).tree
    return tree
