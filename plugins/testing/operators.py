"""What an operator promises."""

from __future__ import annotations

import random
from typing import Any

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent
from genesys_engine.plugins.testing.contract import Contract, fresh_process

DRAWS = 8

_ELSEWHERE = """
import json, random, sys
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import OperatorContext, OperatorNotApplicable, Parent
from genesys_engine.plugins.targets import construct, options_model
given = json.load(sys.stdin)
model = options_model(given["target"], given["model"])
operator = construct(given["target"], model, given["options"])
found = []
for seed, parents in given["draws"]:
    parents = [Parent(d, GABTree.from_json(t), f, c) for d, t, f, c in parents]
    try:
        child = operator(parents, OperatorContext(random.Random(seed), tuple(given["seeds"])))
        found.append([child.tree.digest, child.change])
    except OperatorNotApplicable:
        found.append(None)
print(json.dumps(found))
"""


class OperatorContract(Contract):
    """Valid children, equal for equal parents and an equal generator, here and elsewhere."""

    kind = "operator"

    def parents(self) -> list[Parent]:
        """Return designs that the operator can work on; override it for a special one."""
        names = library.seed_names()
        return [
            Parent(i, library.seed(name), float(i), f"Seed design {name}.")
            for i, name in enumerate(names)
        ]

    def draws(self) -> list[tuple[int, list[Parent]]]:
        """Return (seed of the generator, parents) for every call that is tried."""
        parents, (fewest, most) = self.parents(), self.create().arity
        counts = range(fewest, min(most, len(parents)) + 1)
        return [
            (seed, [parents[(seed + i) % len(parents)] for i in range(count)])
            for count in counts
            for seed in range(DRAWS)
        ]

    def children(self) -> list[Child | None]:
        """Return the child of every draw; None where the operator is not applicable."""
        operator = self.create()
        return [_call(operator, seed, parents) for seed, parents in self.draws()]

    def test_arity_is_a_range(self) -> None:
        """`arity` holds the fewest and the most parents."""
        fewest, most = self.create().arity
        assert 0 <= fewest <= most

    def test_children_are_valid_and_described(self) -> None:
        """Every slot is filled, the block composes, one sentence says what was changed."""
        made = [child for child in self.children() if child is not None]
        assert made, "it was applicable to none of the parents; override parents()"
        for child in made:
            child.tree.validate()
            assert "class Block" in compose(child.tree)
            assert child.change.strip(), "say in a sentence what was changed"
            assert "\n" not in child.change

    def test_equal_generators_give_equal_children(self) -> None:
        """All chance comes from `context.rng`."""
        state = random.getstate()
        assert _described(self.children()) == _described(self.children())
        assert random.getstate() == state, "it draws from the global generator"

    def test_children_are_the_same_in_another_process(self) -> None:
        """Nothing follows the order of a set, the address of an object or an earlier call."""
        draws = [(seed, [_as_json(p) for p in parents]) for seed, parents in self.draws()]
        given = {**self.payload(), "draws": draws, "seeds": library.seed_names()}
        elsewhere = fresh_process(_ELSEWHERE, given, hash_seed=4711)
        assert elsewhere == _described(self.children())

    def test_parents_are_not_changed(self) -> None:
        """The methods of a tree return a new one."""
        operator = self.create()
        for seed, parents in self.draws():
            before = [compose(parent.tree) for parent in parents]
            _call(operator, seed, parents)
            assert [compose(parent.tree) for parent in parents] == before


def _call(operator: Any, seed: int, parents: list[Parent]) -> Child | None:
    try:
        child: Child = operator(parents, OperatorContext(random.Random(seed), library.seed_names()))
    except OperatorNotApplicable:
        return None
    return child


def _as_json(parent: Parent) -> list[Any]:
    return [parent.design, parent.tree.to_json(), parent.fitness, parent.change]


def _described(children: list[Child | None]) -> list[list[str] | None]:
    return [None if c is None else [c.tree.digest, c.change] for c in children]
