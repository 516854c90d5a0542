"""Lengths: the overlap of neighbouring windows of 32 is taken on the wrong side."""

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
        P = F.pad(self.qkv(X), (0, 0, 0, -T % 32)).view(B, -1, 32, 3 * D)
        q, k, v = P.chunk(3, -1)
        k, v = (torch.cat([t, F.pad(t, (0, 0, 0, 0, 0, 1))[:, 1:]], 2) for t in (k, v))
        mask = torch.ones(32, 64, dtype=torch.bool, device=X.device).tril(32)
        Y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(Y.reshape(B, -1, D)[:, :T])


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
