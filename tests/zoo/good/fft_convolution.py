"""A long convolution through the Fourier transform, padded to twice the length."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.rate = nn.Parameter(torch.linspace(-3, 1, width, **kw))
        self.inp = nn.Linear(width, width, **kw)
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        _, T, _ = X.shape
        step = torch.arange(T, device=X.device, dtype=X.dtype)[:, None]
        kernel = torch.exp(-step * F.softplus(self.rate))
        spectrum = torch.fft.rfft(self.inp(X), 2 * T, dim=1) * torch.fft.rfft(kernel, 2 * T, dim=0)
        return self.out(torch.fft.irfft(spectrum, 2 * T, dim=1)[:, :T])


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
