"""Lengths: positions are sorted by a score, summed, and put back."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.score = nn.Linear(width, 1, **kw)
        self.proj = nn.Linear(width, width, **kw)

    def forward(self, X):
        _, T, D = X.shape
        order = self.score(X)[..., 0].argsort(1)
        index = order[..., None].expand(-1, -1, D)
        run = torch.gather(X, 1, index).cumsum(1) / T
        back = torch.zeros_like(X).scatter(1, index, run)
        return self.proj(back)


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
