"""One key and value for all heads, with rotary positions (Su et al. 2021, arXiv 2104.09864)."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.q = nn.Linear(width, width, bias=False, **kw)
        self.kv = nn.Linear(width, width // 2, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)

    def forward(self, X):
        B, T, D = X.shape
        half = D // 8
        step = torch.arange(T, device=X.device, dtype=X.dtype)[:, None]
        angle = step * 10000.0 ** -(torch.arange(half, device=X.device, dtype=X.dtype) / half)

        def turn(A):
            a, b = A.chunk(2, -1)
            return torch.cat(
                [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
            )

        q = turn(self.q(X).view(B, T, 4, D // 4).transpose(1, 2))
        k, v = self.kv(X)[:, None].chunk(2, -1)
        k, v = turn(k).expand_as(q), v.expand_as(q)
        Y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
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
