"""Batch: a shift along the batch in the place of time."""

import torch.nn.functional as F
from torch import nn


class ShortConv(nn.Module):
    def __init__(self, width, **kw):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width, **kw)

    def forward(self, X):
        return self.conv(X.transpose(1, 2))[..., : X.shape[1]].transpose(1, 2)


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.conv = ShortConv(width, **kw)
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        return self.out(self.conv(X) + X.roll(1, 0))


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
