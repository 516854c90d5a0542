"""Training: the block turns its stream over many times at full size."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width, **kw)

    def forward(self, X):
        _, T, _ = X.shape
        Y = self.conv(X.transpose(1, 2))[..., :T].transpose(1, 2)
        return 300 * torch.sin(700 * Y)


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
