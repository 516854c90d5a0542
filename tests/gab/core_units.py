"""Small units for the tests of the genome, and trees made of them."""

from __future__ import annotations

from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import Unit, parse_unit

NORM = '''
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    """Divides every position by its root mean square."""

    interface = "norm"
    choices = {"eps": (1e-6, 1e-5)}

    def __init__(self, d_model, block_loc, *, eps: float = 1e-6, device=None, dtype=None):
        super().__init__()
        self.eps = eps

    def forward(self, X, **Z):
        return F.rms_norm(X, X.shape[-1:], eps=self.eps), Z
'''

MIXER = '''
"""A mean over the past."""

import torch
from torch import nn

SCALE = 0.5


def running_mean(X):
    """Mean of the positions so far."""
    counts = torch.arange(1, X.shape[1] + 1, dtype=X.dtype, device=X.device)
    return X.cumsum(1) / counts[:, None]


class MeanMixer(nn.Module):
    """Projects the running mean; writes it to Z as `past`."""

    interface = "sequence_mixer"
    outputs = ("past",)
    choices = {"power": (1, 2, 3)}

    def __init__(self, d_model, block_loc, *, power: int = 1, device=None, dtype=None):
        super().__init__()
        self.power = power
        self.out = nn.Linear(d_model, d_model, bias=False, device=device, dtype=dtype)

    def forward(self, X, **Z):
        past = running_mean(X)  # causal
        return self.out(past) ** self.power * SCALE, {**Z, "past": past}
'''

CHANNELS = '''
from torch import nn


class Channels(nn.Module):
    """Two projections around a ReLU, added to what the mixer saw."""

    interface = "channel_mixer"
    inputs = ("past",)
    choices = {"expand": (1, 2, 4), "kind": ("relu", "square")}

    def __init__(
        self, d_model, block_loc, *, expand: int = 2, kind: str = "relu", device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.kind = kind
        self.up = nn.Linear(d_model, expand * d_model, **kw)
        self.down = nn.Linear(expand * d_model, d_model, **kw)

    def forward(self, X, **Z):
        hidden = self.up(X + Z["past"]).relu()
        if self.kind == "square":
            hidden = hidden.square()
        return self.down(hidden), Z
'''

BLOCK = '''
from torch import nn


class SmallBlock(nn.Module):
    """x + mixer(norm(x)), then the same with the channel mixer."""

    interface = "block"
    slots = {
        "norm": ("norm", "before the mixer"),
        "mixer": ("sequence_mixer", "moves information forward"),
        "norm_2": ("norm", "before the channel mixer"),
        "channels": ("channel_mixer", "transforms every position"),
    }

    def __init__(
        self, d_model, block_loc, *, norm, mixer, norm_2, channels, device=None, dtype=None
    ):
        super().__init__()
        self.norm, self.mixer = norm(d_model), mixer(d_model)
        self.norm_2, self.channels = norm_2(d_model), channels(d_model)

    def forward(self, X, **Z):
        y, Z = self.norm(X, **Z)
        y, Z = self.mixer(y, **Z)
        X = X + y
        y, Z = self.norm_2(X, **Z)
        y, Z = self.channels(y, **Z)
        return X + y, Z
'''

SOURCES = {"Norm": NORM, "MeanMixer": MIXER, "Channels": CHANNELS, "SmallBlock": BLOCK}


def small(name: str) -> Unit:
    """Return one of the units above."""
    return parse_unit(SOURCES[name], where=f"{name}.py")


def edited(name: str, *changes: tuple[str, str]) -> Unit:
    """Return one of the units above with changed source; every change must apply."""
    source = SOURCES[name]
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return parse_unit(source)


def small_tree(
    *, mixer: GABTree | None = None, channels: GABTree | None = None, norm: GABTree | None = None
) -> GABTree:
    """Return a whole tree of the units above; the second norm has its own `eps`."""
    children = {
        "norm": norm or grow(small("Norm")),
        "mixer": mixer or grow(small("MeanMixer")),
        "norm_2": grow(small("Norm"), eps=1e-5),
        "channels": channels or grow(small("Channels"), expand=4),
    }
    return grow(small("SmallBlock"), children)
