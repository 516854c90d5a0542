"""A window of 8 positions, and the means of the chunks that are over."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)

    def forward(self, X):
        B, T, D = X.shape
        C = 8
        q, k, v = self.qkv(X).chunk(3, -1)
        chunks = T // C
        mean_k = k[:, : chunks * C].view(B, chunks, C, D).mean(2)
        mean_v = v[:, : chunks * C].view(B, chunks, C, D).mean(2)
        at = torch.arange(T, device=X.device)
        near = (at[:, None] >= at) & (at[:, None] < at + C)
        over = at[:, None] >= (torch.arange(chunks, device=X.device) + 1) * C
        scores = q @ torch.cat([k, mean_k], 1).mT / D**0.5
        scores = scores.masked_fill(~torch.cat([near, over], 1), -math.inf)
        return self.out(scores.softmax(-1) @ torch.cat([v, mean_v], 1))


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm1 = nn.RMSNorm(embed_dim, **kw)
        self.norm2 = nn.RMSNorm(embed_dim, **kw)
        self.mixer = Mixer(embed_dim, block_loc, **kw)
        self.up = nn.Linear(embed_dim, 4 * embed_dim, **kw)
        self.down = nn.Linear(4 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        X = X + self.mixer(self.norm1(X))
        return X + self.down(F.gelu(self.up(self.norm2(X)))), Z
