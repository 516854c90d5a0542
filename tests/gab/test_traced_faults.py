"""What an exception of a block is said to be about: the expression, what it held, what is near."""

import pytest
import torch

from genesys_engine.gab.checks.members import usable
from genesys_engine.gab.checks.trace import Trace, in_lines
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.errors import UnitError
from genesys_engine.gab.held import NAMES, WORDS
from genesys_engine.gab.missing import nearest
from genesys_engine.gab.raised import describe, read
from genesys_engine.gab.unit import parse_unit

SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn


class Odd:
    def __repr__(self):
        raise SystemExit("never asked for")

    __str__ = __repr__


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.mix = nn.Linear(width, width)
        self.odd = Odd()

    def forward(self, X, **Z):
        heads, odd = 2, self.odd
        y = X[:, :2]
        {line}
"""


def raised_by(line):
    """Return what the line raises in a forward pass."""
    block = load_block(SOURCE.replace("{line}", line))()
    with pytest.raises(Exception, match=r".") as caught:
        block(torch.ones(2, 4), mask=torch.ones(1))
    found = describe(caught.value)
    assert read(found.to_json()) == found
    return found


def own(found):
    return [frame for frame in found.frames if frame.file.startswith("<genesys_block")][-1]


@pytest.mark.parametrize(
    ("line", "name", "owner", "near"),
    [
        ("return self.gian", "gian", "Block", ("gain",)),
        ("return self.mix.weigth", "weigth", "Linear", ("weight",)),
        ("return y.trasnpose(0, 1)", "trasnpose", "Tensor", ("transpose",)),
        ("return F.rmsnorm(y, (2,))", "rmsnorm", "torch.nn.functional", ("rms_norm",)),
        ("return torch.silu(y)", "silu", "torch", ("torch.nn.functional.silu",)),
        ("return y.silu()", "silu", "Tensor", ("torch.nn.functional.silu",)),
        ("return haeds * y", "haeds", "", ("heads",)),
        ("return softplus(y)", "softplus", "", ("torch.nn.functional.softplus",)),
        ("return Z['masks']", "masks", "Z", ("mask",)),
        ("return F.pad(y, (1, 0), vaule=0)", "vaule", "F.pad()", ("value",)),
        ("return nn.Linear(2, 2, biass=False)(y)", "biass", "nn.Linear()", ("bias",)),
        ("from torch.nn import RMSNrm", "RMSNrm", "torch.nn", ("RMSNorm",)),
    ],
)
def test_what_is_missing_is_named_with_what_is_nearest(line, name, owner, near):
    missing = usable(raised_by(line).missing)
    assert (missing.name, missing.owner) == (name, owner)
    assert missing.nearest[: len(near)] == near
    assert len(missing.nearest) <= 3


def test_nothing_that_a_block_may_not_use_is_proposed():
    for line, refused in (("torch.savee(y)", "save"), ("evall(y)", "eval"), ("y.nunpy()", "numpy")):
        missing = raised_by(f"return {line}").missing
        assert refused in missing.nearest
        assert refused not in usable(missing).nearest


def test_a_name_that_comes_later_is_not_missing():
    found = raised_by("y = later\n        later = 1")
    assert found.kinds[0] == "UnboundLocalError"
    assert found.missing is None


@pytest.mark.parametrize(
    ("line", "signature"),
    [
        ("return F.pad(y, (1, 0), vaule=0)", "F.pad(input, pad, mode='constant', value=None)"),
        ("return torch.cat(y, y, 3)", "torch.cat(tensors, dim=0, *, out=None)"),
        ("return self.mix(y, y)", "self.mix(input)"),
        ("return nn.Identity.forward()", "nn.Identity.forward(self, input)"),
        ("return y @ self.mix.weight", ""),
    ],
)
def test_a_call_with_wrong_arguments_comes_with_the_signature(line, signature):
    assert raised_by(line).signature == signature


def test_the_failing_expression_and_all_that_it_is_made_of():
    frame = own(raised_by("y = 1 + (y *\n            self.gain).sum()"))
    assert frame.code == "y * self.gain"
    held = dict(frame.held)
    assert held["y"] == "float32 (2, 2)"
    assert held["self.gain"] == "float32 (3,)"
    assert held["heads"] == "int 2"
    assert held["Z"] == "dict of 1: mask"
    assert held["odd"] == held["self.odd"] == "Odd", "its own words are never asked for"


def test_what_a_call_held_is_bounded():
    many = "; ".join(f"a{n} = X" for n in range(200))
    frame = own(raised_by(f"{many}; Q{'q' * 500} = X; return self.gian"))
    assert len(frame.held) <= NAMES
    assert all(len(words) <= WORDS for _, words in frame.held)
    deep = own(raised_by("d = [[y] * 50] * 50; return self.gian"))
    assert dict(deep.held)["d"] == "list of 50: list, list, list, ..."


def test_capitals_and_underscores_do_not_count():
    assert nearest("LayerNorm", ["layer_norm", "lay"])[0] == "layer_norm"
    assert nearest("xyz", ["layer_norm"]) == ()


UNIT = '''
from torch import nn


class Gate(nn.Module):
    """A gate."""

    interface = "gate"

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()
        inner = nn.Linear(d_model, d_model, device=device, dtype=dtype)
        self.inner = inner

    def forward(self, X, **Z):
        hidden = self.inner(X)
        return hiden, Z
'''


def test_an_undefined_name_comes_with_the_names_in_scope():
    with pytest.raises(UnitError) as caught:
        parse_unit(UNIT)
    missing = caught.value.missing
    assert caught.value.code == "contract.undefined_name"
    assert (missing.name, missing.nearest[0]) == ("hiden", "hidden")
    assert set(missing.known) == {"X", "Z", "hidden", "nn", "Gate"}, "not those of __init__"
    assert any("hidden" in line for line in in_lines(Trace(missing=missing)))
