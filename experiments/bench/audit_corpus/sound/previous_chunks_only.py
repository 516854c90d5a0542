"""Lengths: reads the mean of all whole chunks of 32 before its own."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.proj = nn.Linear(width, width, **kw)

    def forward(self, X):
        B, T, D = X.shape
        P = F.pad(X, (0, 0, 0, -T % 32)).view(B, -1, 32, D).mean(2).cumsum(1)
        before = F.pad(P, (0, 0, 1, 0))[:, :-1].repeat_interleave(32, 1)[:, :T]
        return torch.tanh(self.proj(before) + X)


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
