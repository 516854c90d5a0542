"""A branch is dropped at random in training, and scaled to make up for it."""

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
        Y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        Y = self.out(Y.transpose(1, 2).reshape(B, T, D))
        if self.training:
            Y = Y * (torch.rand(B, 1, 1, device=X.device) > 0.1).to(X.dtype) / 0.9
        return Y


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
