"""Layering: layers made to differ, reordered, swapped, merged, made alike; always valid trees."""

from __future__ import annotations

import random

import pytest

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.layers import is_pattern, pattern_fault
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.operators.layering import Layering, LayeringOptions, pattern_at
from genesys_engine.operators.removal import Removal, RemovalOptions
from genesys_engine.operators.variation import attempt
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable
from tests.operators.variation_support import OPERATORS, apply, parents_of

OPERATOR = OPERATORS["layering"]
GPT, MAMBA2, RETNET = (library.seed(name) for name in ("gpt", "mamba2", "retnet"))
HYBRID = library.seed("mamba2_mamba2_gpt")


def children(parents: list[GABTree], draws: int = 40) -> list[Child]:
    return [apply(OPERATOR, parents, draw) for draw in range(draws)]


def kinds(tree: GABTree) -> dict[str, str]:
    """Return the digests of the blocks of a pattern, by slot."""
    at = pattern_at(tree)
    assert at is not None
    return {slot: tree.subtree(index).digest for slot, index in tree.children(at).items()}


def test_alike_layers_become_two_kinds_with_the_parent_as_one() -> None:
    made = children([GPT])
    assert {child.details["move"] for child in made} == {"make"}
    assert all(GPT.digest in kinds(child.tree).values() for child in made)
    assert {child.tree[0].name for child in made} == {
        *("LayerPattern", "OuterLayers", "LowerUpperLayers"),
    }
    seeds = {library.seed(name).digest for name in library.seed_names()}
    others = [next(d for d in kinds(c.tree).values() if d != GPT.digest) for c in made]
    assert 0.2 < sum(other in seeds for other in others) / len(others) < 0.8


def test_new_kinds_are_any_seed_or_the_parent_with_a_new_mixer() -> None:
    """A run that begins from one seed has the library's others as partners."""
    seeds = {library.seed(name).digest for name in library.seed_names()} - {GPT.digest}
    for share in (1.0, 0.0):
        operator = Layering(LayeringOptions(seed_share=share))
        others = []
        for draw in range(20):
            context = OperatorContext(random.Random(draw), seeds=("gpt",))
            child = operator(parents_of([GPT]), context)
            others.append(next(d for d in kinds(child.tree).values() if d != GPT.digest))
        assert (set(others) <= seeds) == (share == 1.0)
        assert len(set(others)) > 2


def test_a_kind_of_layer_is_exchanged_for_another_or_another_is_added() -> None:
    operator = Layering(LayeringOptions(seed_share=0.5))
    seeds = {library.seed(name).digest for name in library.seed_names()}
    own, new = set(kinds(HYBRID).values()), {"exchange": set[str](), "add": set[str]()}
    for draw in range(120):
        child = operator(parents_of([HYBRID]), OperatorContext(random.Random(draw), seeds=("gpt",)))
        if (move := child.details["move"]) in new:
            found = set(kinds(child.tree).values())
            assert len(found) == (3 if move == "add" else 2)
            assert len(found & own) == (2 if move == "add" else 1)
            new[move] |= found - own
    assert all(found & seeds and found - seeds for found in new.values())


def test_layers_that_differ_are_reordered_swapped_and_made_alike() -> None:
    moves: dict[str, list[GABTree]] = {}
    for child in children([HYBRID], 120):
        moves.setdefault(child.details["move"], []).append(child.tree)
    assert set(moves) == {"reorder", "swap", "dissolve", "exchange", "add"}
    own = kinds(HYBRID)
    assert all(sorted(kinds(t).values()) == sorted(own.values()) for t in moves["reorder"])
    assert len({tree.digest for tree in moves["reorder"]}) > 5
    (swapped,) = {tree.digest for tree in moves["swap"]}
    assert swapped == grow(library.unit("layer_pattern"), {"a": GPT, "b": MAMBA2}).digest
    assert {tree.digest for tree in moves["dissolve"]} == set(own.values())


def test_two_parents_are_merged() -> None:
    for receiver, donor in ((GPT, MAMBA2), (GPT, HYBRID), (HYBRID, RETNET), (HYBRID, HYBRID)):
        offered = set(kinds(donor).values()) if pattern_at(donor) is not None else {donor.digest}
        for draw in range(15):
            try:
                child = apply(OPERATOR, [receiver, donor], draw)
            except OperatorNotApplicable:
                continue
            assert child.details["move"] == "merge"
            assert offered & set(kinds(child.tree).values())
    three = [child.tree for child in children([HYBRID, RETNET]) if len(kinds(child.tree)) == 3]
    assert three
    merged = children([three[0], library.seed("rwkv6")], 10)
    assert all(len(kinds(child.tree)) == 3 for child in merged)


def test_more_than_two_parents_are_not_applicable() -> None:
    with pytest.raises(OperatorNotApplicable):
        apply(OPERATOR, [GPT, MAMBA2, RETNET], 0)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [(HYBRID, RETNET, "within another"), (GPT, GPT, "the same")],
    ids=["nested", "equal"],
)
def test_a_pattern_that_is_none_is_no_child(a: GABTree, b: GABTree, why: str) -> None:
    made = grow(library.unit("layer_pattern"), {"a": a, "b": b})
    assert why in pattern_fault(made)
    assert not pattern_fault(HYBRID)
    with pytest.raises(OperatorNotApplicable, match=why):
        attempt(parents_of([RETNET]), LayeringOptions(), lambda: Child(made, "No pattern.", {}))


def test_removal_makes_layers_alike_too() -> None:
    made = {apply(Removal(RemovalOptions()), [HYBRID], draw).tree.digest for draw in range(20)}
    assert made == {MAMBA2.digest, GPT.digest}


def test_a_crossover_of_a_pattern_with_another_design_is_a_mixture_of_both() -> None:
    for receiver, donor in ((HYBRID, RETNET), (RETNET, HYBRID)):
        for draw in range(30):
            tree = apply(OPERATORS["typed-crossover"], [receiver, donor], draw).tree
            assert not pattern_fault(tree)
            assert is_pattern(tree[0].unit) == is_pattern(receiver[0].unit)


def test_replacements_keep_the_pattern_and_its_blocks() -> None:
    for name in ("unit-replacement", "new-unit", "subtree-mutation"):
        for draw in range(30):
            child = apply(OPERATORS[name], [HYBRID], draw)
            assert is_pattern(child.tree[0].unit)
            assert set(kinds(child.tree).values()) & set(kinds(HYBRID).values())


def test_a_thousand_operations_in_a_row_leave_valid_trees() -> None:
    """Every operator in turn at random, on a population that begins with seeds and a hybrid."""
    rng = random.Random(7)
    population = [library.seed(name) for name in library.design_names()]
    layered = done = 0
    names = sorted(OPERATORS)
    while done < 1000:
        operator = OPERATORS[rng.choice(names)]
        count = rng.randint(*operator.arity)
        parents = rng.sample(population, count)
        try:
            child = operator(parents_of(parents), OperatorContext(random.Random(done)))
        except OperatorNotApplicable:
            done += 1
            continue
        child.tree.validate()
        assert not pattern_fault(child.tree)
        again = GABTree.from_json(child.tree.to_json())
        assert again.digest == child.tree.digest not in {parent.digest for parent in parents}
        if done % 50 == 0:
            compile(compose(child.tree), "<child>", "exec")
        layered += pattern_at(child.tree) is not None
        population[rng.randrange(len(population))] = child.tree
        done += 1
    assert layered > 50
