"""Every operator: valid children, other than their parents, within limits, reproducible."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.operators.growth import library_units
from genesys_engine.operators.hyperparameter_mutation import (
    HyperparameterMutation,
    HyperparameterMutationOptions,
)
from genesys_engine.operators.insertion import Insertion, InsertionOptions
from genesys_engine.operators.removal import Removal, RemovalOptions
from genesys_engine.operators.subtree_mutation import SubtreeMutation, SubtreeMutationOptions
from genesys_engine.operators.typed_crossover import TypedCrossover, TypedCrossoverOptions
from genesys_engine.operators.unit_replacement import UnitReplacement, UnitReplacementOptions
from genesys_engine.operators.variation import PULL, choose_place, kept_children
from genesys_engine.plugins import knowledge
from genesys_engine.plugins.api import (
    History,
    OperatorContext,
    OperatorNotApplicable,
    Parent,
    Tried,
)
from tests.operators.variation_support import OPERATORS, SEEDS, apply, parents_of, wrapped

DRAWS = 60


def draw_parents(name: str, draw: int) -> list[GABTree]:
    if name == "removal":
        return [wrapped(draw)]
    count = OPERATORS[name].arity[0]
    return [library.seed(s) for s in random.Random(draw).sample(SEEDS, count)]


@pytest.mark.parametrize("name", OPERATORS)
def test_children_are_valid_new_and_within_the_limits(name: str) -> None:
    operator = OPERATORS[name]
    digests = set()
    for draw in range(DRAWS):
        parents = draw_parents(name, draw)
        child = apply(operator, parents, draw)
        child.tree.validate()
        assert child.tree.digest not in {parent.digest for parent in parents}
        assert child.tree.height <= operator.options.max_depth  # type: ignore[attr-defined]
        assert len(child.tree) <= operator.options.max_nodes  # type: ignore[attr-defined]
        assert GABTree.from_json(child.tree.to_json()).digest == child.tree.digest
        digests.add(child.tree.digest)
    assert len(digests) > DRAWS // 4


@pytest.mark.parametrize("name", OPERATORS)
def test_parents_are_left_as_they_were(name: str) -> None:
    for draw in range(10):
        parents = draw_parents(name, draw)
        before = [parent.digest for parent in parents]
        apply(OPERATORS[name], parents, draw)
        assert [parent.digest for parent in parents] == before


@pytest.mark.parametrize("name", OPERATORS)
def test_equal_generators_give_equal_children(name: str) -> None:
    for draw in range(5):
        parents = draw_parents(name, draw)
        one, other = (apply(OPERATORS[name], parents, draw) for _ in range(2))
        assert (one.tree.digest, one.change) == (other.tree.digest, other.change)
        assert compose(one.tree) == compose(other.tree)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_change_is_one_plain_sentence(name: str) -> None:
    for draw in range(20):
        change = apply(OPERATORS[name], draw_parents(name, draw), draw).change
        assert change[0].isupper()
        assert change.endswith(".")
        assert not change.endswith("..")
        assert "\n" not in change
        assert len(change) < 400


@pytest.mark.parametrize("name", [n for n in OPERATORS if OPERATORS[n].arity != (0, 0)])
def test_a_wrong_number_of_parents_is_not_applicable(name: str) -> None:
    with pytest.raises(OperatorNotApplicable):
        apply(OPERATORS[name], [library.seed("gpt")] * 3, 0)


# --- what each operator changes -------------------------------------------------------------------


def test_hyperparameter_mutation_keeps_the_units_and_draws_legal_values() -> None:
    for draw in range(40):
        tree = library.seed(SEEDS[draw % len(SEEDS)])
        child = apply(OPERATORS["hyperparameter-mutation"], [tree], draw)
        assert [node.unit for node in child.tree] == [node.unit for node in tree]
        for move in child.details["moves"]:
            place = next(p for p in child.tree.places() if p.path == move["path"])
            parameter = place.node.unit.hyperparameter(move["name"])
            assert move["to"] in parameter.choices
            assert place.node.values[move["name"]] == move["to"] != move["from"]
            assert f"{move['path']} {move['name']} from {move['from']} to {move['to']}" in (
                child.change
            )


def test_hyperparameter_mutation_changes_at_most_as_many_values_as_asked() -> None:
    operator = HyperparameterMutation(HyperparameterMutationOptions(max_changes=1))
    counts = {len(apply(operator, [library.seed("gpt")], d).details["moves"]) for d in range(20)}
    assert counts == {1}


def test_a_tree_without_legal_values_has_no_hyperparameter_mutation() -> None:
    source = (
        "from torch import nn\n\n\nclass Bare(nn.Module):\n"
        '    """Returns its input."""\n\n    interface = "block"\n\n'
        "    def __init__(self, d_model, block_loc, *, device=None, dtype=None):\n"
        "        super().__init__()\n\n    def forward(self, X, **Z):\n        return X, Z\n"
    )
    from genesys_engine.gab.unit import parse_unit

    tree = grow(parse_unit(source))
    with pytest.raises(OperatorNotApplicable, match="no hyper-parameter"):
        apply(OPERATORS["hyperparameter-mutation"], [tree], 0)


def test_unit_replacement_keeps_the_children_that_fit() -> None:
    operator = UnitReplacement(UnitReplacementOptions())
    gpt = library.seed("gpt")
    kept = 0
    for draw in range(60):
        child = apply(operator, [gpt], draw)
        at = next(p for p in child.tree.places() if p.path == child.details["path"])
        old = next(p for p in gpt.places() if p.path == child.details["path"])
        assert at.node.ret == old.node.ret
        for slot in child.details["kept"]:
            kept += 1
            index = child.tree.children(at.index)[slot]
            digests = {gpt.subtree(i).digest for i in gpt.children(old.index).values()}
            assert child.tree.subtree(index).digest in digests
    assert kept > 10


def test_unit_replacement_does_not_repeat_what_was_tried_on_the_parent() -> None:
    """Asked as a run asks, it goes through all that can be replaced, and leaves it at that."""
    operator = UnitReplacement(UnitReplacementOptions())
    gpt = library.seed("gpt")
    others = [library_units(place.node.ret) for place in gpt.places()]
    possible = sum(len(units) - 1 for units in others)  # all but the one that stands there
    tried: list[Tried] = []

    def history(design: int, limit: int) -> History:
        assert design == 1
        return History(children=tuple(reversed(tried))[:limit])

    for draw in range(possible):
        context = OperatorContext(random.Random(draw), history=history)
        child = operator(parents_of([gpt]), context)
        tried.append(Tried(child.change, "verified", ""))
    assert len({each.change for each in tried}) == possible
    with pytest.raises(OperatorNotApplicable):
        operator(parents_of([gpt]), OperatorContext(random.Random(0), history=history))


def test_kept_children_prefer_their_own_slot() -> None:
    gpt = library.seed("gpt")
    kept = kept_children(gpt, 0, [("mlp", "channel_mixer"), ("new", "norm"), ("norm_1", "norm")])
    children = gpt.children(0)
    assert kept["norm_1"] == gpt.subtree(children["norm_1"])
    assert kept["new"] == gpt.subtree(children["norm_2"])
    assert list(kept) == ["mlp", "new", "norm_1"]


def test_insertion_wraps_and_removal_takes_it_away_again() -> None:
    for draw in range(40):
        tree = library.seed(SEEDS[draw % len(SEEDS)])
        child = apply(OPERATORS["insertion"], [tree], draw)
        place = next(p for p in child.tree.places() if p.path == child.details["path"])
        old = next(p for p in tree.places() if p.path == child.details["path"])
        inner = [
            at
            for at in child.tree.children(place.index).values()
            if child.tree.subtree(at).digest == tree.subtree(old.index).digest
        ]
        assert inner, child.change
        restored = child.tree.replace(place.index, child.tree.subtree(inner[0]))
        assert restored.digest == tree.digest
        back = [apply(OPERATORS["removal"], [child.tree], d).tree.digest for d in range(12)]
        assert tree.digest in back


@pytest.mark.parametrize("seed", SEEDS)
def test_removal_needs_a_child_of_the_same_interface(seed: str) -> None:
    with pytest.raises(OperatorNotApplicable, match="no place"):
        apply(Removal(RemovalOptions()), [library.seed(seed)], 0)


def test_crossover_takes_a_subtree_of_the_other_parent() -> None:
    operator = TypedCrossover(TypedCrossoverOptions())
    roots = 0
    for draw in range(80):
        trees = [library.seed(s) for s in random.Random(draw).sample(SEEDS, 2)]
        child = apply(operator, trees, draw)
        if child.details["path"] == "root":
            roots += 1
            assert child.tree[0] == trees[1][0]
            continue
        place = next(p for p in child.tree.places() if p.path == child.details["path"])
        gift = next(p for p in trees[1].places() if p.path == child.details["from"])
        assert child.tree.subtree(place.index) == trees[1].subtree(gift.index)
        assert "of design 2" in child.change
    assert roots > 3


def test_crossover_of_equal_parents_is_not_applicable() -> None:
    with pytest.raises(OperatorNotApplicable):
        apply(TypedCrossover(TypedCrossoverOptions()), [library.seed("mamba2")] * 2, 0)


def test_a_fresh_design_equals_no_seed_and_uses_the_seeds_it_is_given() -> None:
    from genesys_engine.operators.seed_design import SeedDesign, SeedDesignOptions

    operator = SeedDesign(SeedDesignOptions(inherit_share=1.0))
    known = {library.seed(name).digest for name in SEEDS}
    names = set()
    for draw in range(30):
        child = operator([], OperatorContext(random.Random(draw), seeds=("ttt",)))
        assert child.tree.digest not in known
        mixers = [
            at for at in child.tree.children(0).values() if child.tree[at].ret == "sequence_mixer"
        ]
        names |= {child.tree[at].name for at in mixers}
    assert names == {"TTTLinear"}


# --- limits and fairness --------------------------------------------------------------------------


def test_limits_hold_where_they_are_tight() -> None:
    gpt = library.seed("gpt")
    for draw in range(40):
        options = SubtreeMutationOptions(max_depth=2, max_nodes=7, tries=50)
        child = apply(SubtreeMutation(options), [gpt], draw)
        assert child.tree.height <= 2
        assert len(child.tree) <= 7
    insertion = Insertion(InsertionOptions(max_depth=2, max_nodes=6))
    with pytest.raises(OperatorNotApplicable, match="exceeds 2 levels or 6 units"):
        apply(insertion, [gpt], 0)


def test_mixers_are_drawn_more_often_than_norms_however_many_these_are() -> None:
    rng = random.Random(0)
    places = [p for p in library.seed("gpt").places() if p.node.ret in ("norm", "sequence_mixer")]
    drawn = [choose_place(places, rng).node.ret for _ in range(400)]
    share = drawn.count("sequence_mixer") / len(drawn)
    assert share == pytest.approx(PULL["sequence_mixer"] / (PULL["sequence_mixer"] + 1), abs=0.08)


def test_places_are_drawn_by_what_was_learned() -> None:
    def share(weights: Mapping[str, float]) -> float:
        rng = random.Random(0)
        drawn = [choose_place(places, rng, weights).node.ret for _ in range(400)]
        return drawn.count("norm") / len(drawn)

    places = [p for p in library.seed("gpt").places() if p.node.ret in ("norm", "sequence_mixer")]
    usual = 1 / (PULL["sequence_mixer"] + 1)
    assert share({"norm": 4.0}) == pytest.approx(4 * usual / (4 * usual + 1 - usual), abs=0.08)

    def replaced(weights: Mapping[str, float]) -> list[str]:
        """Return the interfaces of the places that replacements in gpt change."""
        gpt, operator = library.seed("gpt"), UnitReplacement(UnitReplacementOptions())
        at = {place.path: place.node.ret for place in gpt.places()}
        found = []
        for draw in range(40):
            context = OperatorContext(random.Random(draw), place_weights=weights)
            found.append(at[operator([Parent(0, gpt, 0.0, "")], context).details["path"]])
        return found

    assert replaced({"norm": 1000.0}).count("norm") > 36 > replaced({}).count("norm")


def test_thirty_operators_in_a_row_stay_valid() -> None:
    for name in SEEDS:
        rng = random.Random(name)
        tree, other = library.seed(name), library.seed("ttt" if name != "ttt" else "gpt")
        steps = 0
        while steps < 30:
            operator = OPERATORS[rng.choice(list(OPERATORS)[:-1])]
            trees = [tree, other][: operator.arity[0]]
            try:
                child = operator(parents_of(trees), OperatorContext(rng))
            except OperatorNotApplicable:
                continue
            child.tree.validate()
            compose(child.tree)
            tree, steps = child.tree, steps + 1
        assert tree.digest != library.seed(name).digest


def test_the_units_of_the_reference_cards_are_inserted() -> None:
    """At least 25 of them come into children of the seeds, which are whole trees."""
    cards = (Path(knowledge.__path__[0]) / "cards").glob("*.md")
    named = {
        library.unit(match[1]).name
        for card in cards
        if (match := re.search(r"^unit: (\w+)$", card.read_text("utf-8"), re.M))
    }
    inserted: set[str] = set()
    for draw in range(300):
        seed = library.seed(SEEDS[draw % len(SEEDS)])
        operator = OPERATORS[("unit-replacement", "subtree-mutation")[draw % 2]]
        child = apply(operator, [seed], draw).tree
        child.validate()
        before = {place.node.name for place in seed.places()}
        inserted |= {place.node.name for place in child.places()} - before
    assert len(inserted & named) >= 25
