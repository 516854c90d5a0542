"""Batch: nn.MultiheadAttention without batch_first attends over the batch."""

import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.attention = nn.MultiheadAttention(width, 4, **kw)
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width, **kw)

    def forward(self, X):
        Y = self.conv(X.transpose(1, 2))[..., : X.shape[1]].transpose(1, 2)
        return self.attention(Y, Y, Y, need_weights=False)[0]


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
