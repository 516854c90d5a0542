"""PyTorch's own GRU."""

import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.rnn = nn.GRU(width, width, batch_first=True, **kw)

    def forward(self, X):
        return self.rnn(X)[0]


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
