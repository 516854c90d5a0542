"""A gated recurrence, one step at a time, with one matrix for all steps."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.inp = nn.Linear(width, 2 * width, **kw)
        self.hid = nn.Linear(width, 2 * width, bias=False, **kw)
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        _, T, _ = X.shape
        state, states = torch.zeros_like(X[:, 0]), []
        inputs = self.inp(X)
        for t in range(T):
            new, gate = (inputs[:, t] + self.hid(state)).chunk(2, -1)
            gate = gate.sigmoid()
            state = gate * state + (1 - gate) * torch.tanh(new)
            states.append(state)
        return self.out(torch.stack(states, 1))


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
