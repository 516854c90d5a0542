"""minGRU in log space (Feng et al. 2024, arXiv 2410.01201)."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.inp = nn.Linear(width, 2 * width, **kw)
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        gate, new = self.inp(X).chunk(2, -1)
        log_keep = (-F.softplus(gate)).cumsum(1)
        log_value = -F.softplus(-gate) + torch.where(
            new >= 0, (F.relu(new) + 0.5).log(), -F.softplus(-new)
        )
        return self.out(torch.exp(log_keep + (log_value - log_keep).logcumsumexp(1)))


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
