"""Means: a triangular solve that is cast to fp32 under autocast."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.proj = nn.Linear(width, width, **kw)

    def forward(self, X):
        _, T, _ = X.shape
        H = self.proj(X).to(X.dtype)
        steps = torch.ones(T, T, dtype=X.dtype, device=X.device).tril(-1) * 0.5
        steps = steps + torch.eye(T, dtype=X.dtype, device=X.device)
        return torch.linalg.solve_triangular(steps, H, upper=False)


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
