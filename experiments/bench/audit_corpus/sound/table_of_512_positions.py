"""Lengths: a literal of 512 that is the size of a table and no chunk."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.offsets = nn.Parameter(torch.zeros(512, **kw))
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)

    def forward(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, 4, -1).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        gap = torch.arange(T, device=X.device)
        gap = (gap[:, None] - gap).clamp(0, 511)
        seen = torch.ones(T, T, dtype=torch.bool, device=X.device).tril()
        scores = q @ k.mT / q.shape[-1] ** 0.5 + self.offsets[gap]
        Y = scores.masked_fill(~seen, -1e9).softmax(-1) @ v
        return self.out(Y.transpose(1, 2).reshape(B, T, D))


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
