"""Training: an output of full size, normed, and no feed-forward layer behind it."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.conv = nn.Conv1d(
            3 * width, 3 * width, 4, padding=3, groups=3 * width, bias=False, **kw
        )
        self.scale = nn.Parameter(torch.ones(width, **kw))
        self.gate = nn.Linear(width, width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)

    def forward(self, X):
        B, T, D = X.shape
        qkv = F.silu(self.conv(self.qkv(X).transpose(1, 2))[..., :T]).transpose(1, 2)
        q, k, v = (t.view(B, T, 4, -1).transpose(1, 2) for t in qkv.chunk(3, -1))
        steps = torch.arange(T, device=X.device, dtype=X.dtype)
        decay = (0.9 ** (steps[:, None] - steps).clamp_min(0)).tril()
        Y = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * decay) @ v
        Y = F.rms_norm(Y, Y.shape[-1:]).transpose(1, 2).reshape(B, T, D)
        return self.out(Y * self.scale * F.silu(self.gate(X)))


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.mixer = Mixer(embed_dim, block_loc, **kw)

    def forward(self, X, **Z):
        return X + self.mixer(self.norm(X)), Z
