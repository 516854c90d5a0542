"""Attention and a gated MLP side by side under one norm."""

import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)
        self.up = nn.Linear(width, 4 * width, **kw)
        self.down = nn.Linear(2 * width, width, **kw)

    def forward(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, 4, D // 4).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        Y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        gate, value = self.up(X).chunk(2, -1)
        Y = self.out(Y.transpose(1, 2).reshape(B, T, D))
        return Y + self.down(F.silu(gate) * value)


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm1 = nn.RMSNorm(embed_dim, **kw)
        self.mixer = Mixer(embed_dim, block_loc, **kw)

    def forward(self, X, **Z):
        return X + self.mixer(self.norm1(X)), Z
