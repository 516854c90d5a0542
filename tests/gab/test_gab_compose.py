"""Composition: one readable module per tree that computes what the tree says."""

from __future__ import annotations

import ast
import pickle
import sys
import traceback

import pytest
import torch
from core_units import MIXER, edited, small, small_tree

from genesys_engine.gab.checks.brief import brief
from genesys_engine.gab.checks.report import CheckReport, Finding
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.scopes import Lines, references, rename_fstring, replace
from genesys_engine.gab.syntax import walk
from genesys_engine.gab.tree import GABTree, Node, grow
from genesys_engine.gab.unit import parse_unit

WIDTH = 16

UNIT = '''
import math
from torch import nn

{top}

class {name}(nn.Module):
    """A norm for a test."""

    interface = "norm"

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()

    def forward(self, X, **Z):
        {body}
'''


def norm(body: str, *, top: str = "", name: str = "Odd") -> GABTree:
    """Return a unit for the `norm` slots whose forward is `body`."""
    return grow(parse_unit(UNIT.format(body=body, top=top, name=name)))


def two_norms(first: GABTree, second: GABTree) -> GABTree:
    tree = small_tree(norm=first)
    return tree.replace(tree.children(0)["norm_2"], second)


def run_norms(tree: GABTree, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compose the tree and return what its two norms make of X."""
    block = load_block(compose(tree))(WIDTH)
    return block.root.norm(X)[0], block.root.norm_2(X)[0]


@pytest.fixture(name="X")
def stream() -> torch.Tensor:
    return torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))


def test_the_block_computes_what_the_tree_says(X):
    tree = small_tree(mixer=grow(small("MeanMixer"), power=2))
    block = load_block(compose(tree))(WIDTH, (1, 3), dtype=torch.float64)
    X = X.double()
    got, Z = block(X, other=7)

    def rms(x, eps):
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()

    normed = rms(X, 1e-6)
    past = torch.stack([normed[:, : t + 1].mean(1) for t in range(5)], dim=1)
    middle = X + (past @ block.root.mixer.out.weight.T) ** 2 * 0.5
    channels = block.root.channels
    hidden = (rms(middle, 1e-5) + past) @ channels.up.weight.T + channels.up.bias
    want = middle + hidden.relu() @ channels.down.weight.T + channels.down.bias
    assert torch.allclose(got, want, atol=1e-12)
    assert set(Z) == {"past", "other"}
    assert channels.up.out_features == 4 * WIDTH


def test_every_unit_stands_once_and_every_place_has_its_hyperparameters():
    source = compose(small_tree())
    assert source.count("class Norm(nn.Module):") == 1
    block = load_block(source)(WIDTH)
    assert (block.root.norm.eps, block.root.norm_2.eps) == (1e-6, 1e-5)
    assert type(block.root.norm) is type(block.root.norm_2)
    for line in ("norm=partial(Norm, **at, eps=1e-06),", "norm_2=partial(Norm, **at, eps=1e-05),"):
        assert line in source


def test_the_module_is_readable():
    source = compose(small_tree(), title="A small design")
    document = ast.get_docstring(ast.parse(source))
    assert document.startswith("A small design\n\nSmallBlock()\n    norm: Norm(eps=1e-06)\n")
    assert f"Tree digest: {small_tree().digest}" in document
    for kept in ("# causal", "# A mean over the past.", '"""Mean of the positions so far."""'):
        assert kept in source
    assert "\n\n\n\n" not in source
    assert source.endswith("return self.root(X, **Z)\n")


def test_the_module_imports_nothing_of_the_engine():
    nodes = ast.walk(ast.parse(compose(small_tree())))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    nodes = ast.walk(ast.parse(compose(small_tree())))
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules == {"torch", "functools", "torch.nn.functional"}


def test_composition_is_a_function_of_the_tree():
    tree = small_tree()
    assert compose(tree) == compose(GABTree.from_json(tree.to_json()))


@pytest.mark.parametrize(
    "title", ['"""', 'a "quoted"', "back\\slash \\n \\u00e9", "é\x07\ud800", "{root}"]
)
def test_any_title_gives_a_module_that_loads(title):
    source = compose(small_tree(), title=title)
    source.encode()
    load_block(source)(WIDTH)
    shown = title.replace("\x07", "?").replace("\ud800", "?")
    assert ast.get_docstring(ast.parse(source), clean=False).startswith(shown + "\n\n")


def test_a_text_hyperparameter_is_kept_exactly():
    text = 'a "b" \'c\' \\ {d} \n"""'
    block = load_block(compose(small_tree(channels=grow(small("Channels"), kind=text))))(WIDTH)
    assert block.root.channels.kind == text


def test_a_wrong_tree_is_not_composed():
    tree = small_tree()
    with pytest.raises(TreeError, match="the slot needs"):
        compose(GABTree([tree[0], tree[2], *tree[2:]]))


def test_a_part_of_a_tree_composes_by_itself(X):
    assert load_block(compose(grow(small("Norm"))))(WIDTH)(X)[0].shape == X.shape


# --- names that clash --------------------------------------------------------------------------


def test_two_units_of_one_name_keep_their_code(X):
    tree = two_norms(norm("return X + 1, Z"), norm("return X + 2, Z"))
    first, second = run_norms(tree, X)
    assert torch.equal(first, X + 1)
    assert torch.equal(second, X + 2)
    assert "# ---- Odd_2: norm, written as Odd ----" in compose(tree)


def test_a_unit_refers_to_itself_by_its_new_name(X):
    one = norm("return X + len(Odd.__name__), Z")
    two = norm("return X + len(Odd.__name__) + 10, Z")
    first, second = run_norms(two_norms(one, two), X)
    assert torch.equal(first, X + 3)
    assert torch.equal(second, X + 5 + 10)


def test_equal_helpers_are_written_once():
    other = edited("MeanMixer", ("MeanMixer", "Twice"), ("self.out(past)", "self.out(past + past)"))
    block = '"mixer": ("sequence_mixer"'
    pair = edited(
        "SmallBlock",
        (block, '"first": ("sequence_mixer", "first"), ' + block),
        ("*, norm", "*, first, norm"),
        ("super().__init__()", "super().__init__()\n        self.first = first(d_model)"),
        (
            "y, Z = self.mixer(y, **Z)",
            "y, Z = self.first(y, **Z)\n        y, Z = self.mixer(y, **Z)",
        ),
    )
    tree = small_tree()
    children = {slot: tree.subtree(index) for slot, index in tree.children(0).items()}
    source = compose(grow(pair, {**children, "first": grow(other)}))
    assert source.count("def running_mean") == 1
    assert source.count("SCALE = 0.5") == 1
    assert "\n\n\n\n" not in source
    load_block(source)(WIDTH)


HELPER = "# How much.\nOFFSET = {}\n\n\ndef helper(x):\n    return x + OFFSET\n"


def test_helpers_of_equal_text_that_use_different_constants_are_different(X):
    call = "return helper(X), Z"
    tree = two_norms(norm(call, top=HELPER.format(1)), norm(call, top=HELPER.format(2), name="B"))
    first, second = run_norms(tree, X)
    assert torch.equal(first, X + 1)
    assert torch.equal(second, X + 2)
    source = compose(tree)
    assert "OFFSET_2 = 2" in source
    assert source.count("# How much.") == 2


def test_a_shared_helper_takes_its_comment_with_it():
    call = "return helper(X), Z"
    one, two = norm(call, top=HELPER.format(1)), norm(f"{call}  # other", top=HELPER.format(1))
    other = norm("return helper(X) * 2, Z", top=HELPER.format(1), name="B")
    assert compose(two_norms(one, two)).count("# How much.") == 1
    source = compose(two_norms(one, other))
    assert (source.count("# How much."), source.count("OFFSET = 1")) == (1, 1)
    between = norm("return helper(X) * OWN, Z", top="OWN = 3\n\n\n" + HELPER.format(1), name="C")
    assert "\n\n\n\n" not in compose(two_norms(one, between))


def test_only_names_that_mean_the_helper_are_renamed(X):
    top = """
def helper(x):  # helper
    return x * 3


def apply(x, helper):
    return helper(x)


def local(x):
    helper = x + 1
    return [helper for helper in (helper,)][0]


def uses(x, *, scale=helper):
    def inner():
        return helper(x)
    return inner() + scale(x) + (lambda helper: helper)(x)


class Holder:
    helper = "helper"

    def get(self, x):
        return helper(x) if self.helper == "helper" else None
"""
    body = 'return uses(X) + apply(X, helper=helper) + local(X) + Holder().get(X) + eval("0"), Z'
    one = norm("return helper(X), Z", top="def helper(x):\n    return x - 1")
    two = norm(body, top=top, name="Two")
    first, second = run_norms(two_norms(one, two), X)
    assert torch.equal(first, X - 1)
    assert torch.allclose(second, (3 + 3 + 1) * X + 3 * X + (X + 1) + 3 * X)
    assert "def helper_2(x):  # helper\n" in compose(two_norms(one, two))


def test_a_new_name_is_not_caught_by_a_local_variable(X):
    body = "helper_2 = 5; return helper(X) + helper_2, Z"
    one = norm("return helper(X), Z", top="def helper(x):\n    return x - 1")
    two = norm(body, top="def helper(x):\n    return x * 2", name="Two")
    assert torch.equal(run_norms(two_norms(one, two), X)[1], X * 2 + 5)


def test_a_helper_named_like_a_builtin_does_not_hide_it_from_others(X):
    one = norm("return sum(X), Z", top="def sum(x):\n    return x * 7")
    two = norm("return X + sum((1, 2)), Z", name="Two")
    first, second = run_norms(two_norms(one, two), X)
    assert torch.equal(first, X * 7)
    assert torch.equal(second, X + 3)


@pytest.mark.parametrize("taken", ["Block", "partial"])
def test_units_may_be_named_like_what_the_module_needs(taken, X):
    tree = two_norms(norm("return X + 1, Z", name=taken), grow(small("Norm")))
    assert torch.equal(run_norms(tree, X)[0], X + 1)


def test_one_name_imported_from_two_places(X):
    top = "from math import {} as f\nfrom torch.nn import functional as F"
    one = norm("return X + f(8), Z", top=top.format("sqrt"))
    two = norm("return F.relu(X + f(8)), Z", top=top.format("log2"), name="Two")
    first, second = run_norms(two_norms(one, two), X)
    assert torch.equal(first, X + 8**0.5)
    assert torch.equal(second, (X + 3).relu())
    source = compose(two_norms(one, two))
    assert "from math import log2 as f_2" in source
    assert source.count("functional as F") == 1


def test_future_annotations_come_first(X):
    one = norm("return X + 1, Z").root.unit.source
    tree = two_norms(
        grow(parse_unit("from __future__ import annotations\n" + one)), grow(small("Norm"))
    )
    assert torch.equal(run_norms(tree, X)[0], X + 1)


def test_renamed_names_in_an_fstring(X):
    text = "f'{helper(1)!r:>{helper(2)}}' \"{helper}\" f\"{[helper for helper in 'ab']}\""
    body = f"text = {text}; return X + len(text), Z"
    one = norm("return helper(X), Z", top="def helper(x):\n    return x - 1")
    two = norm(body, top="def helper(x):\n    return x + 10", name="Two")
    text = f"{11!r:>{12}}{{helper}}{['a', 'b']}"
    assert torch.equal(run_norms(two_norms(one, two), X)[1], X + len(text))


# Each program sets `result`; `name` and `other` are top-level names that get new names.
PROGRAMS = """
result = [name for name in range(3)] + [name]
---
result = [(lambda: name)() for x in (1, 2) if name]
---
result = {name: other for name, other in {1: 2}.items()}, name
---
result = list(name + x for x in range(name))
---
def f(a=name, *name, **k): return a, name
result = f(1, 2)
---
def f():
    def g():
        nonlocal v
        v = name
    v = 0
    g()
    return v
result = f()
---
def f():
    for name in (1, 2): pass
    return name
result = f(), name
---
def f():
    try: raise ValueError("x")
    except ValueError as name: return str(name)
result = f()
---
def f():
    with memoryview(b"x") as name: return name.nbytes
result = f(), name
---
def f():
    import math as name
    return name.pi
result = f()
---
def f():
    [name := 3 for _ in (1,)]
    return name
result = f(), name
---
def f(x):
    match x:
        case {"a": name, **other}: return name, other
        case [name, *other]: return other
result = f({"a": 1, "b": 2}), f([1, 2]), name
---
class C:
    name = 1
    def f(self): return name, self.name
    g = name
result = C().f(), C.g
---
class C:
    def name(self): return name
result = C().name()
---
def f(name): return (lambda x: name + other)(1)
result = f(2)
---
def f():
    class name: x = other
    return name.x
result = f()
---
def f():
    y = name; x: other = 1; x += name
    return x, y, dict(name=name), "name"
result = f()
---
async def f(): return [name async for name in other]
result = f.__name__, name
---
def ñame(): return name
result = "é", name, ñame()
---
result = f"{name}é{other:{name}}", name
"""


@pytest.mark.parametrize("program", PROGRAMS.split("---"))
def test_renaming_does_not_change_what_a_program_computes(program):
    source = f"name = 7\nother = 9\n{program}\n"
    lines, edits = Lines(source), []
    new = {"name": "renamed_name", "other": "o"}
    for statement in ast.parse(source).body:
        for place in references(statement, new, lines)[0]:
            old = lines.data[place.start : place.end].decode()
            text = rename_fstring(old, new) if place.is_fstring else new[old]
            edits.append((place.start, place.end, text.encode()))
    assert len(edits) >= 2
    before, after = {}, {}
    exec(source, before)
    exec(replace(lines.data, edits).decode(), after)
    assert after["result"] == before["result"]
    assert "name" not in after
    assert after["renamed_name"] == 7


def test_units_that_differ_in_name_and_comments_only_are_written_once(X):
    one, two = norm("return X + 1, Z  # one", name="One"), norm("return X + 1, Z", name="Two")
    tree = two_norms(one, two)
    assert [unit.name for unit in tree.units()] == ["SmallBlock", "One", "MeanMixer", "Channels"]
    assert "class Two" not in compose(tree)
    assert torch.equal(run_norms(tree, X)[1], X + 1)


# --- loading -----------------------------------------------------------------------------------


def test_loaded_classes_pickle_and_every_load_is_a_module_of_its_own():
    source = compose(small_tree())
    one, two = load_block(source), load_block(source)
    assert one is not two
    assert one.__module__ != two.__module__
    block = pickle.loads(pickle.dumps(one(WIDTH)))
    assert type(block) is one


def test_a_traceback_shows_the_line_of_the_module(X):
    block = load_block(compose(small_tree(norm=norm("return X.nothing, Z"))))(WIDTH)
    with pytest.raises(AttributeError) as caught:
        block(X)
    assert "return X.nothing, Z" in "".join(traceback.format_exception(caught.value))


def test_lines_are_counted_as_python_counts_them(X):
    top = "# A comment\u2028with\x0cmarks\x85in it.\nSIZE = 3"
    source = compose(small_tree(norm=norm("return X.nothing, Z, SIZE", top=top)))
    assert "\u2028" in source
    with pytest.raises(AttributeError) as caught:
        load_block(source)(WIDTH)(X)
    assert "return X.nothing, Z, SIZE" in "".join(traceback.format_exception(caught.value))
    line = traceback.extract_tb(caught.value.__traceback__)[-1].lineno
    found = Finding("x.y", "error", "It has no such attribute.", "Name another.", line=line)
    assert "| return X.nothing, Z, SIZE\n" in brief(
        CheckReport((found,)), name="check", source=source
    )


def test_a_module_that_fails_to_load_is_forgotten():
    before = {name for name in sys.modules if name.startswith("genesys_block_")}
    with pytest.raises(ZeroDivisionError):
        load_block(compose(small_tree()) + "\n1 / 0\n")
    assert {name for name in sys.modules if name.startswith("genesys_block_")} == before


def test_the_source_of_a_unit_is_in_the_module_word_for_word():
    assert MIXER[MIXER.index("def running_mean") :].strip() in compose(small_tree())


def test_equal_trees_with_other_comments_keep_their_own():
    """A composed module is kept by all that stands in it, not by the digest alone."""
    plain, noted = small_tree(), small_tree()
    noted[0] = Node(parse_unit(f"{noted[0].unit.source}\n# another note\n"))
    assert noted.digest == plain.digest
    first, second = compose(plain), compose(noted)
    assert ("another note" in first, "another note" in second) == (False, True)
    assert compose(plain) == first
    assert compose(plain, title="Another title.") != first


def test_the_walk_finds_what_ast_finds_but_for_nodes_without_fields():
    module = ast.parse(small("SmallBlock").source + MIXER)
    assert walk(module) == [node for node in ast.walk(module) if node._fields]
