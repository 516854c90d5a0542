"""The first layer hands a sum over the future to the second."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.up = nn.Linear(embed_dim, 4 * embed_dim, **kw)
        self.down = nn.Linear(4 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        Y = self.norm(X)
        hidden = self.up(Y + 0.1 * Y.cumsum(1))
        if "ahead" in Z:
            hidden = hidden + 0.1 * self.up(Z["ahead"])
        ahead = Y.flip(1).cumsum(1).flip(1)
        return X + self.down(F.gelu(hidden)), {**Z, "ahead": ahead}
