"""Ablation: what a design has changed, found in the trees alone, and each of it put back."""

from __future__ import annotations

import pytest

from genesys_engine.gab import library
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.operators.ablation import Part, parts
from genesys_engine.plugins.api import OperatorNotApplicable
from tests.operators.variation_support import OPERATORS, apply, wrapped

GPT, MAMBA2 = library.seed("gpt"), library.seed("mamba2")
HYBRID = library.seed("mamba2_mamba2_gpt")


def found(tree: GABTree, base: GABTree) -> dict[str, Part]:
    return {part.path: part for part in parts(tree, base)}


def test_a_design_differs_in_nothing_from_itself() -> None:
    assert parts(GPT, GPT) == parts(HYBRID, HYBRID) == []


@pytest.mark.parametrize("name", ["unit-replacement", "insertion", "new-unit", "removal"])
def test_one_step_of_an_operator_is_one_part_and_without_it_stands_the_parent(name: str) -> None:
    for draw in range(40):
        base = wrapped(draw) if name == "removal" else (GPT, MAMBA2, HYBRID)[draw % 3]
        child = apply(OPERATORS[name], [base], draw)
        made = parts(child.tree, base)
        assert base.digest in {part.without.digest for part in made}, child.change
        if name == "insertion":
            assert [part.path for part in made] == [child.details["path"]]


def test_hyperparameters_are_parts_of_their_own() -> None:
    for draw in range(20):
        child = apply(OPERATORS["hyperparameter-mutation"], [HYBRID], draw)
        made, moves = parts(child.tree, HYBRID), child.details["moves"]
        assert sorted(part.path for part in made) == sorted(move["path"] for move in moves)
        if len(moves) == 1:
            assert made[0].without.digest == HYBRID.digest


def test_several_steps_are_distinguished_and_each_leaves_the_others() -> None:
    gated = grow(library.unit("gated_attention"), {"position": grow(library.unit("rotary"))})
    local = {"local": grow(library.unit("short_convolution"))}
    mlp = grow(library.unit("local_glu_mlp"), local, expand=4.0)
    places = {place.path: place.index for place in GPT.places()}
    tree = GPT.replace(places["root.mlp"], mlp).replace(places["root.mixer"], gated)
    made = found(tree, GPT)
    assert set(made) == {"root.mixer", "root.mlp"}
    assert made["root.mixer"].without.digest == GPT.replace(places["root.mlp"], mlp).digest
    assert made["root.mlp"].without.digest == GPT.replace(places["root.mixer"], gated).digest


def test_layers_that_differ_become_alike_and_changes_below_are_found_too() -> None:
    place = next(place for place in HYBRID.places() if place.path == "root.b.mlp")
    tree = HYBRID.replace(place.index, grow(library.unit("geglu_mlp")))
    assert set(found(tree, HYBRID)) == {"root.b.mlp"}
    made = found(tree, GPT)
    assert made["root"].without[0].unit.digest == GPT[0].unit.digest
    assert made["root.b.mlp"].without.digest == HYBRID.digest
    assert parts(GPT, HYBRID), "what the other has and this has not is put around again"


def test_unlike_trees_have_parts_too() -> None:
    """Whatever search has made of a seed: every part is valid, or says why it is not."""
    for draw in range(60):
        tree = base = (GPT, HYBRID, library.seed("rwkv6"))[draw % 3]
        for step, name in enumerate(("new-unit", "layering", "subtree-mutation", "insertion")):
            try:
                tree = apply(OPERATORS[name], [tree], 100 * draw + step).tree
            except OperatorNotApplicable:
                continue
        made = parts(tree, base)
        assert made
        digests = [part.without.digest for part in made]
        assert len(set(digests)) == len(digests)
        assert tree.digest not in digests
        for part in made:
            if not part.problem:
                part.without.validate()


def test_a_part_that_others_need_says_so() -> None:
    """The first layers' attention writes what a later unit reads: it cannot be put back alone."""
    source = library.unit("value_residual_attention").source
    assert 'outputs = ("first_values",)' in source
    from genesys_engine.gab.unit import parse_unit

    writes = parse_unit(source.replace('inputs = ("first_values",)', "inputs = ()")
                        .replace('first = Z.get("first_values")', "first = None"))  # fmt: skip
    reads = parse_unit(source.replace('outputs = ("first_values",)', "outputs = ()")
                       .replace('Z = {**Z, "first_values": v}', "first = v")
                       .replace("ValueResidualAttention", "Reader"))  # fmt: skip
    position = {"position": grow(library.unit("rotary"))}
    places = {place.path: place.index for place in HYBRID.places()}
    lower = GPT.replace(GPT.children(0)["mixer"], grow(writes, position))
    upper = GPT.replace(GPT.children(0)["mixer"], grow(reads, position))
    tree = HYBRID.replace(places["root.b"], upper).replace(places["root.a"], lower)
    tree.validate()
    base = HYBRID.replace(
        places["root.a"], GPT.replace(GPT.children(0)["mlp"], grow(library.unit("gelu_mlp")))
    )
    assert "first_values" in found(tree, base)["root.a.mixer"].problem
