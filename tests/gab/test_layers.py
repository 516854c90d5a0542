"""Stacks whose layers differ: chosen by depth, scaled in whole patterns, probed in every kind."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from genesys_engine.gab import library
from genesys_engine.gab.checks.report import CheckReport
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.layers import ALIKE, Layers, read_layers, structure_of
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import TOLERANCE, ModelConfig, fit_scale, get_scale
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import Value, parse_unit
from genesys_engine.plugins.auditor import cost
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.here import audit_block, check_block
from genesys_engine.plugins.auditor.subject import Subject

GPT, MAMBA2, RETNET = (library.seed(name) for name in ("gpt", "mamba2", "retnet"))


def stacked(unit: str, *blocks: GABTree, **values: Value) -> GABTree:
    """Return a unit over whole blocks, in the order of its slots."""
    slots = [slot.name for slot in library.unit(unit).slots]
    return grow(library.unit(unit), dict(zip(slots, blocks, strict=True)), **values)


STACKS = {
    "aab": stacked("layer_pattern", MAMBA2, GPT),
    "ab": stacked("layer_pattern", GPT, MAMBA2, pattern="ab"),
    "aaaaab": stacked("layer_pattern", MAMBA2, GPT, pattern="aaaaab"),
    "abc": stacked("layer_pattern_of_three", MAMBA2, RETNET, GPT),
    "both": stacked("outer_layers", MAMBA2, GPT),
    "first": stacked("outer_layers", MAMBA2, GPT, ends="first"),
    "last": stacked("outer_layers", MAMBA2, GPT, ends="last"),
    "half": stacked("lower_upper_layers", MAMBA2, GPT),
    "quarter": stacked("lower_upper_layers", MAMBA2, GPT, lower_share=0.25),
}


def chosen(tree: GABTree, n_blocks: int) -> str:
    """Return the initials of the root blocks that a stack is made of: its layers, as built."""
    model = LanguageModel(load_block(compose(tree)), ModelConfig(64, n_blocks, 97, 32))
    letters = {"ResidualBlock": "m", "PreNormBlock": "g"}
    kinds = [[type(c).__name__ for c in block.root.children()] for block in model.blocks]
    assert all(len(children) == 1 for children in kinds)
    return "".join(letters[name] for (name,) in kinds)


@pytest.mark.parametrize(
    ("name", "n_blocks", "layers"),
    [
        ("aab", 7, "mmgmmgm"),
        ("ab", 5, "gmgmg"),
        ("aaaaab", 6, "mmmmmg"),
        ("both", 5, "gmmmg"),
        ("both", 1, "g"),
        ("first", 3, "gmm"),
        ("last", 3, "mmg"),
        ("half", 5, "mmggg"),
        ("half", 1, "m"),
        ("quarter", 4, "mggg"),
        ("quarter", 2, "mg"),
    ],
)
def test_a_layer_is_the_block_that_its_place_names(name: str, n_blocks: int, layers: str) -> None:
    assert chosen(STACKS[name], n_blocks) == layers


def test_a_layer_has_the_parameters_of_its_own_block_alone() -> None:
    block, parts = load_block(compose(STACKS["aab"])), [MAMBA2, MAMBA2, GPT]
    for index, part in enumerate(parts):
        layer, alone = block(64, (index, 3)), load_block(compose(part))(64, (index, 3))
        own = [tuple(p.shape) for p in layer.parameters()]
        assert own == [tuple(p.shape) for p in alone.parameters()]


def test_a_stack_computes_what_its_layers_compute_one_after_the_other() -> None:
    block, X = load_block(compose(STACKS["aab"])), torch.randn(2, 9, 64, dtype=torch.float64)
    expected = whole = X
    for index, part in enumerate((MAMBA2, MAMBA2, GPT)):
        torch.manual_seed(index)
        layer = block(64, (index, 3), dtype=torch.float64)
        torch.manual_seed(index)
        alone = load_block(compose(part))(64, (index, 3), dtype=torch.float64)
        whole, expected = layer(whole)[0], alone(expected)[0]
    assert torch.equal(whole, expected)


@pytest.mark.parametrize(
    ("unit", "slots", "values"),
    [
        ("layer_pattern", 2, {"pattern": "aaa"}),
        ("layer_pattern", 2, {"pattern": ""}),
        ("layer_pattern", 2, {"pattern": "aabaaba"}),
        ("layer_pattern", 2, {"pattern": "abc"}),
        ("layer_pattern_of_three", 3, {"pattern": "aab"}),
        ("outer_layers", 2, {"ends": "none"}),
        ("lower_upper_layers", 2, {"lower_share": 1.5}),
    ],
)
def test_a_pattern_that_is_none_fails_at_its_line(
    unit: str, slots: int, values: dict[str, Value]
) -> None:
    (name,) = values
    report = check(stacked(unit, *[GPT] * slots, **values))
    (found,) = report.findings
    assert (found.code, found.unit) == ("build.error", library.unit(unit).name)
    assert found.line
    assert name in found.message


# --- digest, JSON, one module ---------------------------------------------------------------------


def test_digests_tell_stacks_apart_and_are_stable() -> None:
    assert len({tree.digest for tree in STACKS.values()}) == len(STACKS)
    for tree in STACKS.values():
        tree.validate()
        again = GABTree.from_json(tree.to_json())
        assert (again.digest, again.describe()) == (tree.digest, tree.describe())
    default = stacked("layer_pattern", MAMBA2, GPT, pattern="aab")
    assert default.digest == STACKS["aab"].digest == library.seed("mamba2_mamba2_gpt").digest
    assert stacked("layer_pattern", GPT, MAMBA2).digest != default.digest


def test_a_stack_is_one_module_that_holds_every_unit_once() -> None:
    source = compose(STACKS["abc"])
    for unit in STACKS["abc"].units():
        assert source.count(f"\nclass {unit.name}(nn.Module):") == 1
    assert "genesys_engine" not in source
    assert STACKS["abc"].digest in source


# --- how layers differ ----------------------------------------------------------------------------


def layers_of(tree: GABTree) -> Layers:
    return read_layers(partial(structure_of, load_block(compose(tree))))


@pytest.mark.parametrize(
    ("name", "fewest", "period"),
    [
        *[("ab", 2, 2), ("aab", 3, 3), ("aaaaab", 6, 6), ("abc", 3, 3)],
        *[("both", 3, 1), ("first", 2, 1), ("last", 2, 1), ("half", 2, 1)],
    ],
)
def test_kinds_and_period_are_found_by_building(name: str, fewest: int, period: int) -> None:
    found = layers_of(STACKS[name])
    assert found.differ
    assert (found.fewest, found.period) == (fewest, period)


def test_a_repeated_block_has_layers_of_one_kind() -> None:
    assert all(layers_of(library.seed(name)) == ALIKE for name in library.seed_names())


@pytest.mark.parametrize(("asked", "given"), [(1, 3), (2, 3), (4, 3), (5, 6), (6, 6), (24, 24)])
def test_stacks_repeat_a_pattern_in_full(asked: int, given: int) -> None:
    assert Layers((0, 0, 1), fewest=3, period=3).whole(asked) == given
    assert Layers((0, 1, 0), fewest=3).whole(asked) == max(3, asked)
    assert ALIKE.whole(asked) == asked


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("scale", ["0.2M", "14M", "31M", "70M", "125M", "350M"])
def test_a_stack_is_scaled_as_a_whole(name: str, scale: str) -> None:
    fit = fit_scale(load_block(compose(STACKS[name])), get_scale(scale), 2048)
    layers = layers_of(STACKS[name])
    assert abs(fit.ratio - 1) <= TOLERANCE
    assert fit.config.n_blocks % layers.period == 0
    assert fit.config.n_blocks >= layers.fewest


def test_the_parameters_counted_are_those_of_every_layer() -> None:
    config = fit_scale(load_block(compose(STACKS["aab"])), get_scale("0.2M"), 97).config
    sizes = [
        sum(p.numel() for p in load_block(compose(part))(config.d_model, (0, 2)).parameters())
        for part in (MAMBA2, MAMBA2, GPT)
    ]
    fit = fit_scale(load_block(compose(STACKS["aab"])), get_scale("0.2M"), 97)
    shell = (97 + 1) * config.d_model
    assert fit.parameters == shell + sum(sizes) * config.n_blocks // 3


# --- the checks -----------------------------------------------------------------------------------

LEAKY = parse_unit(
    '''from torch import nn


class Future(nn.Module):
    """Adds what follows."""

    interface = "block"

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model, bias=False, device=device, dtype=dtype)

    def forward(self, X, **Z):
        return X + self.mix(X.roll(-1, 1)), Z
'''
)


def check(tree: GABTree, scale: str = "0.2M") -> CheckReport:
    return check_block(compose(tree), vocab_size=512, seed=1, scales=[scale])


@pytest.mark.parametrize("name", ["aab", "abc", "both", "half"])
def test_a_sound_stack_passes_and_its_layers_are_in_the_report(name: str) -> None:
    report = check(STACKS[name])
    assert report.findings == ()
    assert report.measurements["layers"] == list(layers_of(STACKS[name]).kinds)


@pytest.mark.parametrize(
    ("unit", "at", "values"),
    [
        ("layer_pattern", 0, {}),
        ("layer_pattern", 1, {}),
        ("layer_pattern", 1, {"pattern": "aaaaab"}),
        ("layer_pattern_of_three", 1, {}),
        ("layer_pattern_of_three", 2, {"pattern": "abac"}),
        ("outer_layers", 0, {}),
        ("outer_layers", 1, {}),
        ("lower_upper_layers", 1, {"lower_share": 0.75}),
    ],
)
def test_a_leak_is_found_in_whatever_slot_it_is(
    unit: str, at: int, values: dict[str, Value]
) -> None:
    blocks = [GPT] * len(library.unit(unit).slots)
    blocks[at] = grow(LEAKY)
    report = check(stacked(unit, *blocks, **values))
    (found,) = [each for each in report.findings if each.severity == "error"]
    assert (found.code, found.unit) == ("causality.leak", "Future")


def test_the_auditor_finds_it_too() -> None:
    order = Order(compose(stacked("layer_pattern", GPT, grow(LEAKY), pattern="aaaab")))
    for level in ("fast", "full"):
        report = audit_block(dataclasses.replace(order, level=level, d_model=64)).report
        assert "causality.leak" in {found.code for found in report.findings}
        assert report.measurements["probe"]["layers"] == 5


BY_NUMBER = LEAKY.source.replace(
    "super().__init__()", "super().__init__()\n        self.index = block_loc[0]"
).replace("X.roll(-1, 1)", "X.roll(-1, 1) if self.index == 2 else X.cumsum(1)")
BY_COUNT = (
    LEAKY.source.replace(
        '    interface = "block"\n',
        '    interface = "block"\n    inputs = ("layer",)\n    outputs = ("layer",)\n',
    )
    .replace("return X", 'layer = Z.get("layer", 0)\n        return X')
    .replace("X.roll(-1, 1)", "X.roll(-1, 1) if layer == 2 else X.cumsum(1)")
    .replace(", Z\n", ', {**Z, "layer": layer + 1}\n')
)


@pytest.mark.parametrize("source", [BY_NUMBER, BY_COUNT], ids=["number", "count"])
def test_a_layer_that_leaks_by_its_place_is_found_at_the_depth_that_is_trained(source: str) -> None:
    """Its modules are those of all other layers: nothing but running it there shows the leak."""
    report = check(grow(parse_unit(source)))
    assert "layers" not in report.measurements
    assert report.measurements["fits"]["0.2M"]["n_blocks"] > 2
    assert [found.code for found in report.findings] == ["causality.leak"]
    assert report.findings[0].evidence["layer"] == 2


SUM = "X + self.mix(X.roll(-1, 1))"


@pytest.mark.parametrize(
    ("made", "codes"),
    [
        ("(X + self.mix(X)).half()", {"dtype.wrong"}),
        ("(X + self.mix(X))[:, :1]", {"shape.wrong"}),
        ("X + self.mix(X).exp()", {"output.overflow"}),
        ("X + self.mix(X).detach()", {"gradient.missing"}),
        ("X + (1e9 * X.mean(1, keepdim=True)).sin()", {"causality.leak"}),
    ],
)
def test_a_fault_of_one_kind_of_layer_is_found(made: str, codes: set[str]) -> None:
    assert SUM in LEAKY.source
    faulty = grow(parse_unit(LEAKY.source.replace(SUM, made)))
    report = check(stacked("layer_pattern", GPT, faulty))
    assert codes <= {found.code for found in report.findings}


def test_a_value_that_only_another_kind_of_layer_writes_is_missed() -> None:
    """Static rules see that some unit writes it; only the stack shows that it comes too late."""
    reader = LEAKY.source.replace("X.roll(-1, 1)", 'Z["late"]').replace(
        'interface = "block"', 'interface = "block"\n    inputs = ("late",)'
    )
    writer = (
        LEAKY.source.replace("X.roll(-1, 1)), Z", 'X), {**Z, "late": X}')
        .replace('interface = "block"', 'interface = "block"\n    outputs = ("late",)')
        .replace("Future", "Late")
    )
    blocks = grow(parse_unit(reader.replace("Future", "Early"))), grow(parse_unit(writer))
    early_reads = stacked("layer_pattern", *blocks, pattern="ab")
    early_reads.validate()
    (found, *_) = check(early_reads).findings
    assert (found.code, found.unit) == ("forward.error", "Early")


def test_fingerprints_tell_orders_of_layers_apart() -> None:
    trees = [
        MAMBA2,
        STACKS["aab"],
        *[stacked("layer_pattern", MAMBA2, GPT, pattern=p) for p in ("aaab", "aba", "abb")],
        stacked("layer_pattern", MAMBA2, MAMBA2, pattern="ab"),
    ]
    *others, same = [check(tree).measurements["fingerprint"] for tree in trees]
    assert len(set(others)) == len(others)
    again = check(stacked("layer_pattern", MAMBA2, MAMBA2)).measurements["fingerprint"]
    assert same == again


def test_costs_are_the_mean_of_the_layers() -> None:
    def subject(tree: GABTree) -> Subject:
        source = compose(tree)
        found = Subject(here(source, form="plain"), SourceMap(source), 128, 0)
        kinds = layers_of(tree)
        return dataclasses.replace(found, kinds=kinds, blocks=kinds.whole(found.blocks))

    one, other, both = (
        cost.counted(subject(tree), 64, (64, 128))[0] for tree in (MAMBA2, GPT, STACKS["aab"])
    )
    assert both.operations == pytest.approx((2 * one.operations + other.operations) / 3, rel=1e-3)
    assert both.calls == pytest.approx((2 * one.calls + other.calls) / 3, abs=2)


def test_the_whole_audit_passes_a_stack_and_measures_it_next_to_a_reference() -> None:
    reference = compose(GPT)
    for tree in (STACKS["aab"], STACKS["both"]):
        audit = audit_block(Order(compose(tree), d_model=64, reference=reference))
        assert audit.report.passed, audit.report.findings
        assert audit.report.measurements["probe"]["layers"] == 3
        assert audit.facts["time_ratio"] > 0
    alone = [
        audit_block(Order(compose(tree), d_model=64)).report.measurements["parameters_per_block"]
        for tree in (MAMBA2, GPT, STACKS["aab"])
    ]
    assert alone[2] == round((2 * alone[0] + alone[1]) / 3)
