"""Each mechanical repair by itself: what was wrong, what comes out, what is recorded."""

import pytest
from designer_support import MIXER, MLP

from genesys_engine.gab import library
from genesys_engine.gab.unit import parse_unit
from genesys_engine.operators.llm.placing import place_unit
from genesys_engine.operators.llm.repairs import repair as fix

ATTENTION = library.unit("causal_attention")
SWIGLU = library.unit("swiglu_mlp")
BLOCK = library.unit("pre_norm_block")


def repaired(source, original=SWIGLU):
    """Return the unit that the mended source is, and what was repaired."""
    found = fix(source, original)
    return parse_unit(found.source), found.repairs


def changed(*changes, source=MLP):
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def test_a_good_source_is_left_as_it_is():
    assert fix(MLP, SWIGLU).source == MLP
    assert fix(MLP, SWIGLU).repairs == ()


def test_every_library_unit_is_left_as_it_is():
    for unit in library.units():
        if "xformers" not in unit.source:
            assert fix(unit.source, unit).repairs == (), unit.name


ODD = (
    "inputs = ([1],)",
    'slots = {"norm": (["norm"], "x")}',
    "slots = 3",
    "choices = {(1, 2): [[3]]}",
    "inputs = None",
    "interface = [1]",
)


@pytest.mark.parametrize("line", ODD)
def test_odd_declarations_do_not_trouble_it(line):
    name = line.split(" ")[0]
    old = next(each for each in MLP.splitlines() if each.strip().startswith(f"{name} ="))
    repaired(changed((old, f"    {line}")))


def test_what_is_nested_too_deeply_comes_back():
    source = changed(("* up)", "* up" + " + (0" * 90 + ")" * 91))
    deep = source.replace("expand * d_model / 16", " + ".join(["expand"] * 2000))
    assert fix(deep, SWIGLU).source


@pytest.mark.parametrize("source", ["def f(:\n", "x = 1\n", "", "class A:\n    pass\n"])
def test_what_is_no_unit_comes_back_as_it_is(source):
    assert fix(source, SWIGLU).source == source


@pytest.mark.parametrize(
    ("old", "new", "repair"),
    [
        ("import torch.nn.functional as F\n", "", "import added: F"),
        ("from torch import nn\n", "", "import added: nn"),
        ("from torch import nn\n", "from torch import nn\nimport numpy as np\n",
         "import removed: numpy"),
        ("from torch import nn\n", "from torch import nn\nimport torch.nn as nn\n",
         "import repeated: nn"),
        ("        super().__init__()\n", "", "super().__init__() added"),
        (", Z\n", "\n", "Z returned beside X"),
        ("F.relu(", "F.ReLU(", None),
        ("F.relu(gate)", "torch.silu(gate)", "spelled F.silu: torch.silu"),
        ("F.relu(gate)", "F.swish(gate)", "spelled F.silu: F.swish"),
        ("self.down(F", "self.down.cuda()(F", "wired-in device removed"),
        ("gate, up =", "ones = torch.ones(4, device='cuda')\n        gate, up =",
         "wired-in device removed"),
        ("bias=False, **kw)\n        self.down", "bias=False)\n        self.down",
         "device and dtype handed on"),
        ("(self, X, **Z)", "(self, X, Z)", "forward's parameters mended"),
        ("(self, X, **Z)", "(self, X)", "forward's parameters mended"),
        ("block_loc, *, expand", "block_loc, expand", None),
        ("expand: float = 2.667, device=None, dtype=None", "expand: float = 2.667", None),
        ("expand: float = 2.667", "expand", None),
        ("block_loc, *, expand: float = 2.667", "block_loc, *, extra=1, expand: float = 2.667",
         "unused hyper-parameter removed"),
        ("    interface = \"channel_mixer\"\n", "", "kept from the working unit: interface"),
        ('interface = "channel_mixer"', 'interface = "mlp"', "interface declared"),
        ('(1.5, 2.0, 2.667, 4.0)', '(1.5, 2, "wide")', "choices fitted to the hyper-parameters"),
        ('    choices = {"expand": (1.5, 2.0, 2.667, 4.0)}\n', "",
         "kept from the working unit: choices"),
        ("inputs = ()", 'inputs = ("memory",)', "inputs declared as they are used"),
        ("class SwiGLUMLP(nn.Module):", "class SwiGLUMLP:", "derived from nn.Module"),
        ('        kw = {"device": device, "dtype": dtype}\n', "", "kw defined"),
        ("round(expand * d_model / 16)", "round(expand * D / 16)", "width named d_model: D"),
        ("(gate).square()", "(gate).pow(expand)", "reached through self: expand"),
        ("(gate).square()", "(gate).pow(self.expand)", "kept on self: expand"),
        ("return self.down", "T = torch.arange(T)\n        return self.down", None),
        ("gate, up = self", "half = D // 2\n        gate, up = self", "taken from X: D"),
        ("gate, up = self", "steps = torch.arange(T, device=X.device)\n        gate, up = self",
         "sizes taken from X"),
        ("gate, up = self", "ones = torch.ones(3)\n        gate, up = self",
         "tensors created on X's device"),
    ],
)  # fmt: skip
def test_one_fault_is_fixed(old, new, repair):
    source = changed((old, new))
    if repair is None:  # something else is said, or it is no mechanical fault
        found = fix(source, SWIGLU)
        assert found.repairs or found.source == source
        return
    unit, repairs = repaired(source)
    assert repair in repairs
    assert unit.interface == "channel_mixer"


def test_positional_hyper_parameters_become_keywords():
    unit, repairs = repaired(changed(("block_loc, *, expand: float = 2.667", "expand")))
    assert unit.hyperparameter("expand").default == 2.667, "the default of the unit before"
    assert any("constructor's parameters mended" in repair for repair in repairs)


def test_a_width_of_another_name_is_renamed():
    source = changed(
        ("self, d_model", "self, dim"), ("d_model, 2", "dim, 2"), (", d_model,", ", dim,")
    )
    source = source.replace("expand * d_model", "expand * dim")
    unit, _ = repaired(source)
    assert "dim" not in unit.source.replace("dim=-1", "")


def test_forward_with_a_small_x():
    source = changed(("(self, X, **Z)", "(self, x)"), ("self.gate_up(X)", "self.gate_up(x)"))
    unit, repairs = repaired(source)
    assert "forward(self, X, **Z)" in unit.source
    assert "forward's parameters mended" in repairs


def test_a_missing_docstring_comes_from_the_unit_before():
    start = MLP.index('    """A feed-forward')
    end = MLP.index('"""', start + 8) + 4
    unit, repairs = repaired(MLP[:start] + MLP[end:])
    assert "docstring added" in repairs
    assert unit.doc == SWIGLU.doc.partition("\n")[0]


def test_helpers_and_imports_that_are_left_out_are_kept():
    cut = MIXER[MIXER.index("class CausalAttention") :]
    unit, repairs = repaired(cut, ATTENTION)
    assert "kept from the working file: attend" in repairs
    assert "import added: math" in repairs
    assert unit.digest == parse_unit(MIXER).digest


def test_a_class_with_forward_alone_keeps_the_rest():
    body = MLP[MLP.index("    def forward") :]
    unit, repairs = repaired(f"class SwiGLUMLP(nn.Module):\n{body}")
    assert "kept from the working unit: __init__" in repairs
    assert unit.digest == parse_unit(MLP).digest


def test_example_code_and_other_units_are_dropped():
    other = library.unit("rms_norm").source.replace("import torch.nn.functional as F\n", "")
    extra = other[other.index("class RMSNorm") :]
    source = f"{MLP}\n\n{extra}\n\nmodel = SwiGLUMLP(64, (0, 1))\nprint(model)\n"
    source = source.replace("from torch import nn\n", "import torch\nfrom torch import nn\n", 1)
    unit, repairs = repaired(source)
    assert {"example code removed", "other units removed"} <= set(repairs)
    assert unit.name == "SwiGLUMLP"


def test_a_renamed_class_is_found_by_its_interface():
    unit, repairs = repaired(changed(("SwiGLUMLP", "Squared")))
    assert (unit.name, repairs) == ("Squared", ())


@pytest.mark.parametrize(
    ("call", "repair"),
    [
        ("normed = self.norm_1(X)", "Z handed to a child"),
        ("normed = self.norm_1(X, **Z)", "a child's pair taken apart"),
        ("normed = 1.0 * self.norm_1(X, **Z)", "a child's pair taken apart"),
    ],
)
def test_calls_of_children(call, repair):
    source = changed(("normed, Z = self.norm_1(X, **Z)", call), source=BLOCK.source)
    unit, repairs = repaired(source, BLOCK)
    assert repair in repairs
    assert "norm_1(X, **Z)" in unit.source


def test_a_slot_that_is_no_longer_used_is_dropped():
    source = changed(("normed, Z = self.norm_2(X, **Z)", "normed = X"), source=BLOCK.source)
    unit, repairs = repaired(source, BLOCK)
    assert "slots declared as they are used" in repairs
    assert [slot.name for slot in unit.slots] == ["norm_1", "mixer", "mlp"]


def test_a_child_under_another_attribute():
    source = changed(("self.norm_1", "self.first"), source=BLOCK.source)
    unit, repairs = repaired(source, BLOCK)
    assert "child called by its slot: norm_1" in repairs
    assert unit.digest == BLOCK.digest


def test_a_tensor_called_z():
    source = changed(
        ("return self.out(y.transpose(1, 2).flatten(2)), Z",
         "Z = self.out(y.transpose(1, 2).flatten(2))\n        return Z, Z"),
        source=ATTENTION.source,
    )  # fmt: skip
    unit, repairs = repaired(source, ATTENTION)
    assert "a tensor called Z renamed" in repairs
    assert "return (Y_out, Z)" in unit.source


CONV = "self.conv = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden, **kw)"
CONVOLVED = MLP.replace("        self.down =", f"        {CONV}\n        self.down =")


@pytest.mark.parametrize(
    ("given", "repair"),
    [
        ("self.conv(up)", "convolution turned to time: conv"),
        ("self.conv(F.pad(up.transpose(1, 2), (2, 0))).transpose(1, 2)",
         "convolution padded once: conv"),
    ],
)  # fmt: skip
def test_a_convolution_over_time(real_check, given, repair):
    source = changed(("F.relu(gate).square() * up", f"F.relu(gate) * {given}"), source=CONVOLVED)
    unit, repairs = repaired(source)
    assert repair in repairs
    report = real_check(place_unit(library.seed("gpt"), "root.mlp", unit))
    assert report["passed"], report["findings"]


OWN_WAYS = (
    ("", "self.conv(up.transpose(1, 2))[..., : up.shape[1]].transpose(1, 2)"),
    ("T = up.transpose(1, 2)\n        P = F.pad(T, (2, 0))\n", "self.conv(P).transpose(1, 2)"),
    ("T = torch.einsum('btc->bct', up)\n", "self.conv(F.pad(T, (2, 0))).transpose(1, 2)"),
)


@pytest.mark.parametrize(("before", "own"), OWN_WAYS)
def test_a_convolution_with_its_own_way_is_left(before, own):
    source = changed(("F.relu(gate).square() * up", f"F.relu(gate) * {own}"), source=CONVOLVED)
    source = changed(("        return self.down", f"        {before}        return self.down"),
                     source=source)  # fmt: skip
    assert "convolution turned to time: conv" not in fix(source, SWIGLU).repairs


def test_a_method_that_returns_the_pair_is_left():
    whole = "        return self.down(F.relu(gate).square() * up), Z"
    assert whole in MLP
    source = MLP.replace(whole, "        return self._out(F.relu(gate).square() * up, Z)")
    source += "\n    def _out(self, Y, Z):\n        return self.down(Y), Z\n"
    assert fix(source, SWIGLU).repairs == ()
