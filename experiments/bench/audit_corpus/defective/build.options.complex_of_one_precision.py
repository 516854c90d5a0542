"""Means: complex parameters that are complex64 whatever dtype is asked for."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.rate = nn.Parameter(torch.linspace(-2, 2, width, **kw))
        self.weight = nn.Parameter(torch.ones(width, device=device, dtype=torch.complex64))
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        _, T, _ = X.shape
        steps = torch.arange(T, device=X.device, dtype=X.dtype)[:, None]
        decay = torch.exp(-F.softplus(self.rate) * steps)
        kernel = (self.weight * torch.polar(decay, steps * self.rate)).real
        Y = torch.fft.irfft(
            torch.fft.rfft(X, 2 * T, 1) * torch.fft.rfft(kernel, 2 * T, 0), 2 * T, 1
        )
        return self.out(torch.tanh(Y[:, :T]))


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
