"""Gradients: 64 small experts, each a module, of which a token reaches two."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width, **kw)
        self.router = nn.Linear(width, 64, **kw)
        self.experts = nn.ModuleList(nn.Linear(width, width, **kw) for _ in range(64))

    def forward(self, X):
        Y = self.conv(X.transpose(1, 2))[..., : X.shape[1]].transpose(1, 2)
        flat = Y.reshape(-1, Y.shape[-1])
        weights, chosen = self.router(flat).softmax(-1).topk(2, dim=-1)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows, place = (chosen == number).nonzero(as_tuple=True)
            part = torch.tanh(expert(flat[rows])) * weights[rows, place, None]
            out = out.index_add(0, rows, part.to(out.dtype))
        return out.view_as(Y)


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
