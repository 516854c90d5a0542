"""The difference of two attention maps (Ye et al. 2024, arXiv 2410.05258)."""

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
        self.share = nn.Parameter(torch.full((4, 1, 1), 0.3, **kw))

    def forward(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, 4, D // 4).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        seen = torch.ones(T, T, dtype=torch.bool, device=X.device).tril()
        (q1, q2), (k1, k2) = q.chunk(2, -1), k.chunk(2, -1)
        maps = [
            (a @ b.mT / (D // 8) ** 0.5).masked_fill(~seen, -math.inf).softmax(-1)
            for a, b in ((q1, k1), (q2, k2))
        ]
        Y = (maps[0] - self.share * maps[1]) @ v
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
