"""GABTree: growth, places, DEAP's own functions, digest, JSON, validation."""

from __future__ import annotations

import copy
import json
import pickle
import random

import numpy as np
import pytest
from core_units import BLOCK, MIXER, edited, small, small_tree
from deap import gp, tools
from hypothesis import given
from hypothesis import strategies as st

from genesys_engine.gab.errors import TreeError, UnitError
from genesys_engine.gab.tree import GABTree, Node, grow
from genesys_engine.gab.unit import parse_unit

PATHS = ["root", "root.norm", "root.mixer", "root.norm_2", "root.channels"]


def nested(depth: int) -> GABTree:
    """Return a chain of norms, each the child of the one before."""
    source = small("Norm").source.replace('interface = "norm"', 'interface = "norm"\n    SLOTS')
    source = source.replace("SLOTS", 'slots = {"inner": ("norm", "goes first")}')
    source = source.replace("*, eps", "*, inner, eps").replace("self.eps = eps", INNER)
    source = source.replace(
        "return F.rms_norm(X", "X, Z = self.inner(X, **Z)\n        return F.rms_norm(X"
    )
    tree = grow(small("Norm"))
    for _ in range(depth):
        tree = grow(parse_unit(source), {"inner": tree})
    return tree


INNER = "self.eps, self.inner = eps, inner(d_model)"


def test_grow_puts_children_in_the_order_of_the_slots():
    tree = small_tree()
    assert [node.name for node in tree] == ["SmallBlock", "Norm", "MeanMixer", "Norm", "Channels"]
    assert [place.path for place in tree.places()] == PATHS
    assert [place.parent for place in tree.places()] == [None, 0, 0, 0, 0]
    assert [place.slot for place in tree.places()] == [None, "norm", "mixer", "norm_2", "channels"]
    assert tree.children(0) == {"norm": 1, "mixer": 2, "norm_2": 3, "channels": 4}
    assert tree.children(2) == {}


def test_hyperparameters_belong_to_the_place():
    tree = small_tree()
    assert tree[1].hyperparameters == ()
    assert tree[3].hyperparameters == (("eps", 1e-5),)
    assert dict(tree[3].values) == {"eps": 1e-5}
    changed = tree.with_hyperparameters(4, {"kind": "square"})
    assert changed[4].hyperparameters == (("expand", 4), ("kind", "square"))
    assert tree[4].hyperparameters == (("expand", 4),)
    assert changed.with_hyperparameters(4, {"kind": "relu", "expand": 2})[4].hyperparameters == ()
    assert type(grow(small("Norm"), eps=1)[0].values["eps"]) is float


@pytest.mark.parametrize(
    ("children", "values", "message"),
    [
        ({}, {}, "slot 'norm' of SmallBlock is empty"),
        ({"no": "Norm"}, {}, "SmallBlock has no slot 'no'"),
        ({"mixer": "Norm"}, {}, "root.mixer: Norm offers 'norm', the slot needs 'sequence_mixer'"),
        ({}, {"width": 3}, "SmallBlock has no hyper-parameter 'width'"),
    ],
)
def test_grow_refuses_what_does_not_fit(children, values, message):
    whole = small_tree()
    every = {slot: whole.subtree(index) for slot, index in whole.children(0).items()}
    filled = {**every, **{slot: grow(small(name)) for slot, name in children.items()}}
    with pytest.raises(TreeError) as caught:
        grow(small("SmallBlock"), filled if children or values else {}, **values)
    assert message in str(caught.value)


def test_a_wrong_type_of_hyperparameter_is_refused():
    with pytest.raises(TreeError, match=r"expand takes a int, not 1\.5"):
        grow(small("Channels"), expand=1.5)
    with pytest.raises(TreeError, match="eps takes a float"):
        small_tree().with_hyperparameters(1, {"eps": "x"})


def test_replace_returns_a_new_tree_and_keeps_the_old():
    tree = small_tree()
    digest = tree.digest
    new = tree.replace(4, grow(small("Channels"), kind="square"))
    assert new[4].values["kind"] == "square"
    assert (tree.digest, len(tree)) == (digest, 5)
    assert new.digest != digest
    bigger = tree.replace(1, nested(3))
    assert len(bigger) == 8
    assert bigger.places()[4].path == "root.norm.inner.inner.inner"
    assert bigger.children(0) == {"norm": 1, "mixer": 5, "norm_2": 6, "channels": 7}
    assert bigger.replace(1, grow(small("Norm"))).digest == digest
    with pytest.raises(TreeError, match=r"root\.mixer needs the interface 'sequence_mixer'"):
        tree.replace(2, grow(small("Norm")))
    assert bigger.subtree(2).digest == nested(2).digest


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_of_the_tree_is_refused(index):
    tree = small_tree()
    for call in (tree.subtree, tree.children, lambda i: tree.replace(i, tree)):
        with pytest.raises(TreeError, match="no node"):
            call(index)


# --- DEAP ------------------------------------------------------------------------------------


def test_deap_height_str_subtree_and_slice_guards():
    tree = small_tree(norm=nested(2))
    assert tree.height == 3
    assert tree.root is tree[0]
    assert tree.searchSubtree(1) == slice(1, 4)
    assert str(small_tree()) == (
        "SmallBlock(norm=Norm(), mixer=MeanMixer(), norm_2=Norm(eps=1e-05), "
        "channels=Channels(expand=4))"
    )
    with pytest.raises(ValueError, match="incomplete subtree"):
        tree[1:4] = [tree[0]]
    with pytest.raises(ValueError, match="different arity"):
        tree[4] = tree[0]
    with pytest.raises(IndexError):
        tree[9:10] = [tree[4]]


def test_deepcopy_and_pickle_give_equal_trees():
    tree = small_tree()
    copied = copy.deepcopy(tree)
    assert type(copied) is GABTree
    assert copied == tree
    copied[1] = copied[3]
    assert copied != tree
    assert tree[1].hyperparameters == ()
    loaded = pickle.loads(pickle.dumps(tree))
    assert type(loaded) is GABTree
    assert (loaded, loaded.digest) == (tree, tree.digest)


def test_digest_follows_a_change_in_place():
    tree = small_tree()
    before = tree.digest
    tree[1] = tree[3]
    assert tree.digest != before


def test_deap_static_limit_guards_an_operator():
    def deepen(tree):
        return (tree.replace(1, nested(tree.height + 3)),)

    limited = gp.staticLimit(key=lambda tree: tree.height, max_value=4)(deepen)
    random.seed(0)
    (unchanged,) = limited(small_tree())
    assert unchanged == small_tree()
    (deeper,) = gp.staticLimit(key=lambda tree: tree.height, max_value=9)(deepen)(small_tree())
    assert deeper.height == 5


def test_deap_typed_crossover_and_mutation_keep_trees_whole():
    random.seed(3)
    for _ in range(30):
        one, two = small_tree(norm=nested(2)), small_tree(mixer=grow(small("MeanMixer"), power=3))
        one, two = gp.cxOnePoint(one, two)
        for tree in (one, two):
            tree.validate()
            assert type(tree) is GABTree
        (mutant,) = gp.mutUniform(
            one, expr=lambda pset, type_: list(small_tree().subtree(_place(type_))), pset=None
        )
        mutant.validate()


def _place(interface: str) -> int:
    return [node.ret for node in small_tree()].index(interface)


def test_deap_statistics_and_duplicates():
    trees = [small_tree(), small_tree(norm=nested(1)), small_tree()]
    statistics = tools.Statistics(key=len)
    statistics.register("mean", np.mean)
    assert statistics.compile(trees) == {"mean": pytest.approx(16 / 3)}
    assert len({tree.digest for tree in trees}) == 2


# --- digest ----------------------------------------------------------------------------------


def test_the_digest_ignores_layout_and_sees_hyperparameters_structure_and_units():
    tree = small_tree()
    commented = edited("MeanMixer", ("# causal", "# sees the past only"))
    assert commented != small("MeanMixer")
    assert small_tree(mixer=grow(commented)).digest == tree.digest
    assert tree.with_hyperparameters(4, {"expand": 1}).digest != tree.digest
    other = edited("MeanMixer", ("0.5", "0.25"))
    assert small_tree(mixer=grow(other)).digest != tree.digest
    assert small_tree(norm=nested(1)).digest != tree.digest
    explicit = GABTree([Node(small("Norm"), (("eps", 1e-6),))])
    assert explicit.digest == grow(small("Norm")).digest


def test_the_place_of_a_hyperparameter_matters():
    one = small_tree().with_hyperparameters(1, {"eps": 1e-5}).with_hyperparameters(3, {"eps": 1e-6})
    assert sorted(n.hyperparameters for n in one) == sorted(n.hyperparameters for n in small_tree())
    assert one.digest != small_tree().digest


def test_units_are_listed_once_in_prefix_order():
    tree = small_tree()
    assert [unit.name for unit in tree.units()] == ["SmallBlock", "Norm", "MeanMixer", "Channels"]


def test_the_picture_shows_every_place():
    assert small_tree().describe() == (
        "SmallBlock()\n"
        "    norm: Norm(eps=1e-06)\n"
        "    mixer: MeanMixer(power=1)\n"
        "    norm_2: Norm(eps=1e-05)\n"
        "    channels: Channels(expand=4, kind='relu')"
    )


# --- JSON ------------------------------------------------------------------------------------


MIXERS = [
    small("MeanMixer"),
    edited("MeanMixer", ("0.5", "2")),
    edited("MeanMixer", ("MeanMixer", "Mixer_2"), ("0.5", "3")),
]


@st.composite
def trees(draw: st.DrawFn) -> GABTree:
    norm = nested(draw(st.integers(0, 3)))
    norm = norm.with_hyperparameters(0, {"eps": draw(st.floats(1e-9, 1.0))})
    power = draw(st.integers(-(10**20), 10**20))
    mixer = grow(draw(st.sampled_from(MIXERS)), power=power)
    channels = grow(small("Channels"), kind=draw(st.text(max_size=8)))
    return small_tree(norm=norm, mixer=mixer, channels=channels)


@given(trees())
def test_json_round_trip(tree):
    data = tree.to_json()
    read = GABTree.from_json(json.loads(json.dumps(data)))
    assert (read, read.digest) == (tree, tree.digest)
    assert read.to_json() == data


def test_two_units_of_one_name_survive_json():
    other = edited("Norm", ("rms_norm(X, X.shape[-1:]", "layer_norm(X, X.shape[-1:]"))
    tree = small_tree(norm=grow(other))
    data = tree.to_json()
    assert list(data["units"]) == ["SmallBlock", "Norm", "MeanMixer", "Norm_2", "Channels"]
    assert GABTree.from_json(data) == tree


def test_unreachable_units_change_nothing_and_are_not_read():
    data = small_tree().to_json()
    data["units"] = {"Unused": MIXER.replace("MeanMixer", "Unused"), "Broken": "(", **data["units"]}
    assert GABTree.from_json(data).digest == small_tree().digest


NORM_AT = ("root", "children", "norm")


def _set(*path, to):
    """Return a function that sets one entry of a tree's JSON."""

    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        (_set("format", to=2), None, "not a tree"),
        (_set("units", to=[]), None, "not a tree"),
        (lambda data: data.pop("root"), None, "not a tree"),
        (_set("root", to="Norm"), "root", 'no "unit"'),
        (lambda data: data["units"].pop("Norm"), "root.norm", "'Norm' is not in the table"),
        (_set("units", "Norm", to=3), "root.norm", "'Norm' is not in the table"),
        (lambda data: data["root"]["children"].pop("norm"), "root", "slot 'norm'"),
        (_set("root", "children", "x", to={}), "root", "no slot 'x'"),
        (_set(*NORM_AT, "unit", to="Channels"), "root.norm", "the slot needs 'norm'"),
        (_set(*NORM_AT, "children", to=[]), "root.norm", "objects"),
        (_set(*NORM_AT, "hyperparameters", to=[]), "root.norm", "objects"),
        (_set(*NORM_AT, "hyperparameters", "a", to=1), "root.norm", "no hyper-parameter 'a'"),
        (_set(*NORM_AT, "hyperparameters", "eps", to="a"), "root.norm", "takes a float"),
        (_set(*NORM_AT, "hyperparameters", "eps", to=[1]), "root.norm", "takes a float"),
    ],
)
def test_bad_json_is_refused_with_its_place(change, where, message):
    data = copy.deepcopy(small_tree().to_json())
    change(data)
    with pytest.raises(TreeError) as caught:
        GABTree.from_json(data)
    assert message in str(caught.value)
    assert caught.value.where == where


@pytest.mark.parametrize("data", [[], None, "tree", {}])
def test_other_data_is_not_a_tree(data):
    with pytest.raises(TreeError, match="not a tree"):
        GABTree.from_json(data)


def test_a_bad_source_in_json_is_a_unit_error_that_names_unit_and_line():
    data = small_tree().to_json()
    data["units"]["Norm"] = data["units"]["Norm"].replace("**Z)", "Z)")
    with pytest.raises(UnitError) as caught:
        GABTree.from_json(data)
    assert caught.value.where == "Norm:15"


def test_endless_depth_is_refused():
    data = nested(1).to_json()
    entry = data["root"]
    for _ in range(200):
        entry = {"unit": "Norm", "children": {"inner": entry}}
    with pytest.raises(TreeError, match="deeper"):
        GABTree.from_json({**data, "root": entry})


@pytest.mark.parametrize(("depth", "told"), [(63, ""), (64, "deeper"), (200, "deeper")])
def test_a_tree_that_could_not_be_read_back_is_refused(depth, told):
    (middle, *_), (leaf,) = nested(1), grow(small("Norm"))
    chain = GABTree([middle] * depth + [leaf])
    if not told:
        chain.check_structure()
        assert GABTree.from_json(chain.to_json()).digest == chain.digest
        return
    with pytest.raises(TreeError, match=told):
        chain.check_structure()


# --- validation ------------------------------------------------------------------------------


def test_a_whole_tree_is_valid():
    small_tree().validate()


def test_a_value_that_nobody_writes_is_refused():
    silent = edited(
        "MeanMixer", ('outputs = ("past",)', "outputs = ()"), ('{**Z, "past": past}', "Z")
    )
    tree = small_tree(mixer=grow(silent))
    with pytest.raises(TreeError, match="'past' of Z, which no unit writes") as caught:
        tree.validate()
    assert caught.value.where == "root.channels"


def test_a_part_is_no_whole_tree():
    part = small_tree().subtree(2)
    part.check_structure()
    with pytest.raises(TreeError, match="whole tree's root is a block"):
        part.validate()


def test_incomplete_lists_and_wrong_interfaces_are_found():
    nodes = list(small_tree())
    with pytest.raises(TreeError, match=r"nothing stands at root\.channels"):
        GABTree(nodes[:-1]).validate()
    with pytest.raises(TreeError, match="ends before node 5"):
        GABTree([*nodes, nodes[1]]).validate()
    with pytest.raises(TreeError, match="nothing stands at root"):
        GABTree([]).validate()
    swapped = [nodes[0], nodes[2], nodes[1], *nodes[3:]]
    with pytest.raises(TreeError, match="offers 'sequence_mixer'") as caught:
        GABTree(swapped).validate()
    assert caught.value.where == "root.norm"
    bad = Node(small("Norm"), (("eps", "x"),))
    with pytest.raises(TreeError, match="takes a float"):
        GABTree([nodes[0], bad, *nodes[2:]]).validate()


def test_reading_a_tree_twice_parses_each_source_once():
    data = small_tree().to_json()
    one, two = GABTree.from_json(data), GABTree.from_json(copy.deepcopy(data))
    assert one[0].unit is two[0].unit
    assert parse_unit(BLOCK) is parse_unit(BLOCK)
