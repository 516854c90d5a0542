"""Gradients: 48 experts in one tensor, chosen by index."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width, **kw)
        self.router = nn.Linear(width, 48, **kw)
        self.down = nn.Parameter(torch.randn(48, width, 4, **kw) / width**0.5)
        self.up = nn.Parameter(torch.randn(48, 4, width, **kw) / 2)

    def forward(self, X):
        Y = self.conv(X.transpose(1, 2))[..., : X.shape[1]].transpose(1, 2)
        weight, chosen = self.router(Y).softmax(-1).max(-1)
        H = torch.einsum("btd,btdr->btr", Y, self.down[chosen])
        return torch.einsum("btr,btrd->btd", torch.tanh(H), self.up[chosen]) * weight[..., None]


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
