"""Imports a name that torch does not have."""

import torch.nn.functional as F
from torch import nn
from torch.nn import CausalMagicMixer


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.mixer = CausalMagicMixer(embed_dim, block_loc, **kw)
        self.up = nn.Linear(embed_dim, 4 * embed_dim, **kw)
        self.down = nn.Linear(4 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        X = X + self.mixer(self.norm(X))
        return X + self.down(F.gelu(self.up(X))), Z
