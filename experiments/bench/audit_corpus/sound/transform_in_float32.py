"""Rounding: a long convolution by FFT in fp32, padded to twice the length."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.rate = nn.Parameter(torch.linspace(0.1, 2, width, **kw))
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        _, T, _ = X.shape
        steps = torch.arange(T, device=X.device, dtype=torch.float32)[:, None]
        kernel = torch.exp(-F.softplus(self.rate.float()) * steps)
        spectrum = torch.fft.rfft(X.float(), 2 * T, dim=1) * torch.fft.rfft(kernel, 2 * T, dim=0)
        return self.out(torch.fft.irfft(spectrum, 2 * T, dim=1)[:, :T].to(X.dtype))


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
