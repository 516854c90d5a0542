"""Promises: a layer of einops among layers of torch."""

import torch
import torch.nn.functional as F
from einops.layers.torch import Rearrange
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.mix = nn.Sequential(
            Rearrange("b t d -> b d t"),
            nn.ConstantPad1d((3, 0), 0.0),
            nn.Conv1d(width, width, 4, groups=width, **kw),
            Rearrange("b d t -> b t d"),
        )

    def forward(self, X):
        return torch.tanh(self.mix(X))


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.mixer = Mixer(embed_dim, block_loc, **kw)
        self.up = nn.Linear(embed_dim, 2 * embed_dim, **kw)
        self.down = nn.Linear(2 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        X = X + self.mixer(self.norm(X))
        return X + self.down(F.gelu(self.up(X))), Z
