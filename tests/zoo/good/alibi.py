"""Attention with linear biases (Press et al. 2022, arXiv 2108.12409)."""

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
        q, k, v = (t.view(B, T, 4, D // 4).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        step = torch.arange(T, device=X.device, dtype=X.dtype)
        gap = step - step[:, None]
        slopes = 2.0 ** -torch.arange(1, 5, device=X.device, dtype=X.dtype)
        bias = (slopes[:, None, None] * gap).masked_fill(gap > 0, -math.inf)
        Y = ((q @ k.mT / (D // 4) ** 0.5 + bias).softmax(-1)) @ v
        return self.out(Y.transpose(1, 2).reshape(B, T, D))


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
