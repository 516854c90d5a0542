"""Rounding: a gated decay whose state is kept in fp32 whatever the dtype."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.gate = nn.Linear(width, width, **kw)
        self.value = nn.Linear(width, width, **kw)

    def forward(self, X):
        B, T, D = X.shape
        a, v = torch.sigmoid(self.gate(X)), self.value(X)
        if T == 1:
            return (1 - a) * v
        state, states = torch.zeros(B, D, device=X.device), []
        for t in range(T):
            state = a[:, t].float() * state + (1 - a[:, t]).float() * v[:, t].float()
            states.append(state)
        return torch.stack(states, 1).to(X.dtype)


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
