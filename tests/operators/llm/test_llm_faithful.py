"""Faithfulness: a named unit differs in its syntax tree and in function, or it does not count."""

import pytest
from designer_support import MIXER, MLP, gpt, source_of

from genesys_engine.gab.unit import parse_unit
from genesys_engine.operators.llm.faithful import Checks, reverted, unfaithful
from genesys_engine.operators.llm.placing import place_unit

SILU = "F.silu(gate) * up"


def faults(check, *, mixer="", mlp="", paths=("root.mixer", "root.mlp")):
    parent = gpt().tree
    tree = parent
    for path, source in (("root.mixer", mixer), ("root.mlp", mlp)):
        if source:
            tree = place_unit(tree, path, parse_unit(source))
    checks = Checks(check)
    assert checks(tree)["passed"]
    return [(each.path, each.code) for each in unfaithful(tree, parent, paths, checks)]


def test_two_real_changes_are_faithful(real_check):
    assert faults(real_check, mixer=MIXER, mlp=MLP) == []


def test_a_unit_that_was_not_touched_is_found(real_check):
    assert faults(real_check, mixer=MIXER) == [("root.mlp", "faithful.syntax")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("SwiGLUMLP", "Better"), "faithful.syntax"),
        (('"""A feed-forward', '"""Another feed-forward'), "faithful.syntax"),
        ((SILU, "up * F.silu(gate)"), "faithful.function"),
        ((SILU, "gate * torch.sigmoid(gate) * up"), "faithful.function"),
        ((SILU, "F.dropout(F.silu(gate) * up, 0.1, self.training)"), "faithful.function"),
    ],
)
def test_what_computes_the_same_is_no_change(real_check, change, code):
    source = source_of("swiglu_mlp", change)
    if "torch.sigmoid" in source:
        source = source.replace("import torch.nn", "import torch\nimport torch.nn")
    assert faults(real_check, mixer=MIXER, mlp=source) == [("root.mlp", code)]


def test_each_unit_is_looked_at_by_itself(real_check):
    """The block differs from its parent, but only by one of the two units."""
    idle = source_of("swiglu_mlp", (SILU, "up * F.silu(gate)"))
    assert faults(real_check, mixer=MIXER, mlp=idle, paths=("root.mlp",)) == [
        ("root.mlp", "faithful.function")
    ]


def test_a_place_that_is_gone(real_check):
    assert faults(real_check, mlp=MLP, paths=("root.gone",)) == [("root.gone", "faithful.missing")]


def test_putting_a_unit_back_gives_the_parent(real_check):
    parent = gpt().tree
    tree = place_unit(parent, "root.mlp", parse_unit(MLP))
    assert reverted(tree, parent, "root.mlp").digest == parent.digest


def test_no_tree_is_checked_twice(real_check):
    before = real_check.count
    faults(real_check, mixer=MIXER, mlp=MLP)
    assert real_check.count - before == 3, "the tree, and each change put back"
