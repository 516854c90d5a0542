"""Training: the output is normed before the last projection and starts at full size."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.gate = nn.Linear(width, width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)

    def forward(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, 4, -1).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        steps = torch.arange(T, device=X.device, dtype=X.dtype)
        decay = (0.9 ** (steps[:, None] - steps).clamp_min(0)).tril()
        Y = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * decay) @ v
        Y = F.rms_norm(Y, Y.shape[-1:]).transpose(1, 2).reshape(B, T, D)
        return self.out(Y * F.silu(self.gate(X)))


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
