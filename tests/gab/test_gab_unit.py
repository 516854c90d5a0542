"""Units: what is read from a source, every rule of the contract, and the digest."""

from __future__ import annotations

import pickle
import textwrap

import pytest
from core_units import CHANNELS, MIXER, NORM, SOURCES, edited, small
from hypothesis import given
from hypothesis import strategies as st

from genesys_engine.gab.errors import TreeError, UnitError
from genesys_engine.gab.unit import HyperParameter, Slot, parse_unit

GOOD = '''\
"""A file."""
import math
import torch
from torch import nn

WIDTH = 2

class Mix(nn.Module):
    """Specification."""
    interface = "sequence_mixer"
    inputs = ("seen",)
    outputs = ("made",)
    slots = {"inner": ("norm", "normalises")}
    choices = {"heads": (1, 2, 4)}

    def __init__(self, d_model, block_loc, *, inner, heads: int = 2, device=None, dtype=None):
        super().__init__()
        self.inner = inner(d_model)
        self.heads = heads

    def forward(self, X, **Z):
        y, Z = self.inner(X * self.heads, **Z)
        return y + Z["seen"], {**Z, "made": y}
'''
SLOTS = 'slots = {"inner": ("norm", "normalises")}'
CHOICES = 'choices = {"heads": (1, 2, 4)}'
INIT = "def __init__(self, d_model, block_loc, *, inner, heads: int = 2, device=None, dtype=None):"
INNER = "y, Z = self.inner(X * self.heads, **Z)"
RETURN = 'return y + Z["seen"], {**Z, "made": y}'
LINE = {"import math": 2, "class": 8, "slots": 13, "choices": 14, "init": 16, "return": 23}


def test_everything_declared_is_read():
    unit = parse_unit(GOOD)
    assert (unit.name, unit.interface, unit.doc) == ("Mix", "sequence_mixer", "Specification.")
    assert (unit.inputs, unit.outputs) == (("seen",), ("made",))
    assert unit.slots == (Slot("inner", "norm", "normalises"),)
    assert unit.hyperparameters == (HyperParameter("heads", 2, (1, 2, 4)),)
    assert unit.slot("inner") is unit.slots[0]
    assert unit.hyperparameter("heads").default == 2
    assert unit.source == GOOD
    assert pickle.loads(pickle.dumps(unit)) == unit


def test_unknown_slots_and_hyperparameters_are_named_with_the_known_ones():
    unit = parse_unit(GOOD)
    with pytest.raises(TreeError, match=r"no slot 'x'\n.*inner"):
        unit.slot("x")
    with pytest.raises(TreeError, match=r"no hyper-parameter 'x'\n.*heads"):
        unit.hyperparameter("x")


BREACHES = [
    # code, what is replaced, by what, line of the error
    ("syntax", "    def forward(self", "    def forward(self(", 21),
    ("syntax", "Specification", "Spec\0ification", 1),
    ("imports", "import math", "import os", 2),
    ("imports", "import math", "import torchvision", 2),
    ("imports", "import math", "from math import *", 2),
    ("imports", "import math", "from . import math", 2),
    ("imports", "import math", "from __future__ import division", 2),
    ("imports", "import math", "from collections import OrderedDict", 2),
    ("imports", "import math", "from xformers.ops import fmha", 2),
    ("imports", RETURN, "import subprocess", 23),
    ("top_level", "WIDTH = 2", "print(1)", 6),
    ("top_level", "WIDTH = 2", "if True: WIDTH = 2", 6),
    ("top_level", "WIDTH = 2", "math = 2", 6),
    ("top_level", "WIDTH = 2", "nn = 2", 6),
    ("top_level", "WIDTH = 2", "A, B = 1, 2", 6),
    ("top_level", "WIDTH = 2", "A = 1; B = 2", 6),
    ("top_level", "import math", "import torch.nn as math", 2),
    ("global", "y, Z =", "global WIDTH; y, Z =", 22),
    ("no_unit", 'interface = "sequence_mixer"', "", 8),
    ("many_units", "class Mix", "class Other:\n    interface = 'norm'\n\nclass Mix", 11),
    ("base", "class Mix(nn.Module)", "class Mix", 8),
    ("base", "class Mix(nn.Module)", "class Mix(nn.Linear)", 8),
    ("base", "class Mix(nn.Module)", "class Mix(math.Module)", 8),
    ("base", "class Mix", "@staticmethod\nclass Mix", 9),
    ("docstring", '"""Specification."""', "", 8),
    ("literal", '("seen",)', 'tuple(["seen"])', 11),
    ("interface", '"sequence_mixer"', '"sequence mixer"', 10),
    ("interface", '"sequence_mixer"', "3", 10),
    ("inputs", '("seen",)', '("seen")', 11),
    ("outputs", '("made",)', '("made", "made")', 12),
    ("outputs", '("made",)', '("X",)', 12),
    ("slots", SLOTS, 'slots = ("inner",)', 13),
    ("slots", SLOTS, 'slots = {"inner": "norm"}', 13),
    ("slots", SLOTS, 'slots = {"inner": ("norm", " ")}', 13),
    ("slots", SLOTS, 'slots = {"d_model": ("norm", "normalises")}', 13),
    ("constructor", "d_model, block_loc", "width, block_loc", 16),
    ("constructor", "block_loc, *", "block_loc=(0, 1), *", 16),
    ("constructor", "dtype=None)", "dtype=None, **kw)", 16),
    ("constructor", ", dtype=None", "", 16),
    ("constructor", "device=None", "device='cpu'", 16),
    ("constructor", "def __init__", "def init", 8),
    ("slot_parameter", "*, inner,", "*,", 16),
    ("slot_parameter", "*, inner,", "*, inner=None,", 16),
    ("hyperparameter", "heads: int = 2", "heads: int", 16),
    ("hyperparameter", "heads: int = 2", "heads: int = None", 16),
    ("hyperparameter", "heads: int = 2", "heads: int = 2, scale=1e999", 16),
    ("hyperparameter", "heads: int = 2", "heads: int = 2, X=1", 16),
    ("literal", "heads: int = 2", "heads: int = WIDTH", 16),
    ("choices", CHOICES, 'choices = {"head": (1, 2)}', 14),
    ("choices", CHOICES, 'choices = {"heads": (1, 2.0)}', 14),
    ("choices", CHOICES, 'choices = {"heads": (1, True)}', 14),
    ("choices", CHOICES, 'choices = {"heads": ()}', 14),
    ("choices", CHOICES, 'choices = {"heads": (1, 1)}', 14),
    ("choices", CHOICES, "choices = (1, 2)", 14),
    ("forward", "self, X, **Z", "self, X, Z", 21),
    ("forward", "self, X, **Z", "self, X, mask=None, **Z", 21),
    ("forward", "def forward", "def forwards", 8),
    ("z_opaque", RETURN, RETURN.replace("{**Z,", "{**Z, **dict(a=Z),"), 23),
    ("z_opaque", 'Z["seen"]', "Z[self.heads]", 23),
    ("z_opaque", 'Z["seen"]', "sum(Z.values())", 23),
    ("input_undeclared", 'Z["seen"]', 'Z["seen"] + Z["other"]', 23),
    ("input_undeclared", 'Z["seen"]', 'Z["seen"] + Z.get("other", 0)', 23),
    ("input_undeclared", 'Z["seen"]', 'Z["seen"] + ("other" in Z)', 23),
    ("input_unused", 'Z["seen"]', "1", 11),
    ("output_undeclared", '"made": y}', '"made": y, "more": y}', 23),
    ("output_undeclared", INNER, INNER.replace("**Z)", "**Z, more=X)"), 22),
    ("output_undeclared", INNER, INNER.replace("**Z)", '**{**Z, "more": X})'), 22),
    ("output_undeclared", INNER, INNER + '; Z["more"] = X', 22),
    ("output_undeclared", INNER, INNER + '; Z = Z | {"more": X}', 22),
    ("output_undeclared", INNER, INNER + "; Z = dict(Z, more=X)", 22),
    ("output_unused", '{**Z, "made": y}', "Z", 12),
    ("slot_unused", INNER, "y = X * self.heads", 8),
    ("slot_unused", "self.inner = inner(d_model)", "self.inner = nn.Identity()", 8),
    ("hyperparameter_unused", "self.heads = heads", "self.heads = 2", 16),
    ("undefined_name", "self.heads = heads", "self.heads = heads * embed_dim", 19),
    ("undefined_name", "self.heads = heads", "self.heads = heads + len(choices)", 19),
    ("undefined_name", "self.heads = heads", "self.heads = heads + F.relu(1)", 19),
]


@pytest.mark.parametrize(("code", "old", "new", "line"), BREACHES)
def test_every_breach_has_its_code_and_its_line(code, old, new, line):
    assert GOOD.count(old) >= 1
    with pytest.raises(UnitError) as caught:
        parse_unit(GOOD.replace(old, new), where="unit.py")
    assert caught.value.code == f"contract.{code}"
    assert caught.value.where == f"unit.py:{line}"
    assert caught.value.hint


def test_the_error_message_says_where_what_and_how_to_fix():
    with pytest.raises(UnitError) as caught:
        parse_unit(GOOD.replace('Z["seen"]', 'Z["seem"]'), where="mix.py")
    assert str(caught.value) == (
        "mix.py:23: Mix reads the value 'seem' of Z without declaring it\n"
        "  help: add 'seem' to `inputs`"
    )


@pytest.mark.parametrize("text", ["(" * 5000, "x = " + "-" * 100_000 + "1", "", "\ufeff", "\x00"])
def test_hostile_text_is_a_unit_error(text):
    with pytest.raises(UnitError):
        parse_unit(text)


def test_source_is_never_run(tmp_path):
    marker = tmp_path / "ran"
    source = GOOD.replace("WIDTH = 2", f"WIDTH = open({str(marker)!r}, 'w')")
    parse_unit(source)
    assert not marker.exists()


@pytest.mark.parametrize(
    "body",
    [
        'return self.inner(X, **Z, made=X * Z["seen"] * self.heads)',
        'y, Zi = self.inner(X * self.heads, **{**Z, "made": X}); return y + Zi["seen"], Zi',
        'Z["made"] = X * self.heads * Z["seen"]; return self.inner(X, **Z)',
        'a = {**Z, "made": X}; return self.inner(X * self.heads * Z["seen"], **a)',
        'y, _ = self.inner(X, **Z); _ = 1; return y * Z["seen"] * self.heads, dict(Z, made=y)',
    ],
)
def test_every_way_to_use_z_is_understood(body):
    old = f"{INNER}\n        {RETURN}"
    assert old in GOOD
    unit = parse_unit(GOOD.replace(old, body))
    assert (unit.inputs, unit.outputs) == (("seen",), ("made",))


def test_keywords_and_results_of_an_own_method_are_not_values_of_z():
    source = GOOD.replace(INNER, INNER + "\n        a, b = self.own(X, size=1, **Z); y = y + b[0]")
    parse_unit(source + "\n    def own(self, X, size, **Z):\n        return X, (X, X)\n")


def test_names_bound_by_every_kind_of_statement_are_defined():
    body = """
        total = sum(last := x for x in (1, 2)) + last
        try:
            with memoryview(b"x") as view:
                total += len(view)
        except ValueError as error:
            raise TypeError from error
        for index, *rest in ((1, 2),):
            total += index + len(rest)
        match total:
            case [first, *others] | {"first": first, **others}:
                total += first + len(others)
        y = y + total
"""
    parse_unit(GOOD.replace(INNER, INNER + body))


def test_an_optional_package_may_be_imported_in_a_function():
    guarded = "def fast():\n    try:\n        from xformers.ops import fmha\n"
    guarded += "    except ImportError:\n        fmha = None\n    return fmha\n"
    parse_unit(GOOD.replace("WIDTH = 2", guarded))


# --- the digest ------------------------------------------------------------------------------


def test_the_digest_of_a_fixed_unit_never_changes():
    # Stored runs are keyed by it; it must be the same on every Python version.
    assert parse_unit(GOLDEN).digest == GOLDEN_DIGEST


GOLDEN = '''
import torch
from torch import nn
import torch.nn.functional as F
from functools import partial

@torch.no_grad()
def helper(a, /, b=-1, *c, d: int = 0x10, **e) -> None:
    """Doc."""
    u, w = 1e-5, u"text \\u00e9"; z = 3j; s = b"by"
    def inner(): nonlocal u; u += 1
    with torch.enable_grad() as f, torch.no_grad(): del f
    try: raise ValueError(f"{a!r:>{b}} and" "more {a}" f"{w=} {z}") from None
    except (KeyError, ValueError) as err: assert err, "no"
    finally: inner()
    while (n := b) < 3 and not a or b: break
    for i, *j in c: continue
    match a:
        case [1, *_] | {"k": None, **rest} if rest: return [x for x in j if x][1:2, ...]
        case torch.Tensor(shape=q) as t: return q, t, w, s, i
    return lambda x: (yield) or x @ {*c} if x is None else ~x // 2 ** 3

class Golden(nn.Module):
    """Doc."""
    interface: str = "norm"

    def __init__(self, d_model, block_loc, *, eps=1e-6, on=True, name="a", device=None, dtype=None):
        super().__init__()
        self.all: tuple = (eps, on, name, partial(helper, b=1, a=2), F)

    @property
    def size(self): return Golden.__name__

    def forward(self, X, **Z): return X, Z
'''
GOLDEN_DIGEST = "d5a0d1640a132fec020d7ff01a318ccc9986efffef58fc86c5ccb1124cbe1376"

DOC = '"""Projects the running mean; writes it to Z as `past`."""'
KEYWORDS = "bias=False, device=device, dtype=dtype"
SAME = [
    lambda s: "# a comment\n" + s,
    lambda s: s.replace("\n\n", "\n\n\n"),
    lambda s: s.replace("MeanMixer", "Renamed"),
    lambda s: s.replace(DOC, '"""Other."""'),
    lambda s: s.replace('    """Mean of the positions so far."""\n', ""),
    lambda s: s.replace('"""A mean over the past."""', ""),
    lambda s: s.replace(KEYWORDS, ", ".join(reversed(KEYWORDS.split(", ")))),
    lambda s: s.replace('"past"', "'past'"),
    lambda s: s.replace("0.5", "0.50"),
    lambda s: s.replace("\n", "\r\n"),
    lambda s: s.replace("past = running_mean(X)  # causal", "past = (\n  running_mean(X)\n )"),
]
OTHER = [
    ("0.5", "0.25"),
    ("power: int = 1", "power: int = 2"),
    ('"sequence_mixer"', '"norm"'),
    ("bias=False", "bias=True"),
    ("running_mean", "mean_so_far"),
    ("(1, 2, 3)", "(1, 2)"),
    ("cumsum(1)", "cumsum(True)"),
    ("self.power * SCALE", "SCALE * self.power"),
]


@pytest.mark.parametrize("change", SAME)
def test_layout_does_not_change_the_digest(change):
    assert change(MIXER) != MIXER
    assert parse_unit(change(MIXER)).digest == small("MeanMixer").digest


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_meaning_changes_the_digest(old, new):
    assert edited("MeanMixer", (old, new)).digest != small("MeanMixer").digest


def test_keywords_keep_their_order_where_two_dicts_are_unpacked():
    first = parse_unit(NORM.replace("eps=self.eps)", "eps=self.eps, **{}, weight=None)"))
    other = parse_unit(NORM.replace("eps=self.eps)", "weight=None, **{}, eps=self.eps)"))
    assert first.digest != other.digest


@given(
    name=st.sampled_from(sorted(SOURCES)),
    blank=st.lists(st.tuples(st.integers(0, 40), st.text("# abc", max_size=6)), max_size=5),
    indent=st.integers(1, 7),
)
def test_random_comments_blank_lines_and_indents_do_not_change_the_digest(name, blank, indent):
    lines = []
    for line in SOURCES[name].splitlines():
        depth = len(line) - len(line.lstrip())
        lines.append(" " * (depth // 4 * indent) + line.lstrip())
    for position, comment in blank:
        lines.insert(min(position, len(lines)), "#" + comment)
    assert parse_unit("\n".join(lines)).digest == small(name).digest


def test_hyperparameter_values_are_checked_by_type():
    number = HyperParameter("eps", 1e-6, ())
    assert number.checked(1) == 1.0
    assert type(number.checked(1)) is float
    for wrong in (True, "1", float("nan"), float("inf"), None):
        with pytest.raises(TypeError, match="eps takes a float"):
            number.checked(wrong)
    with pytest.raises(TypeError):
        HyperParameter("heads", 1, ()).checked(True)
    with pytest.raises(TypeError):
        HyperParameter("on", True, ()).checked(1)


def test_choices_of_every_kind_are_read():
    kind = small("Channels").hyperparameter("kind")
    assert kind == HyperParameter("kind", "relu", ("relu", "square"))
    text = textwrap.dedent(CHANNELS).replace('"relu", "square")}', '"relu",)}')
    assert parse_unit(text).hyperparameter("kind").choices == ("relu",)
