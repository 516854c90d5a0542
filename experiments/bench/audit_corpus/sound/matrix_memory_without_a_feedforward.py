"""Training: an mLSTM with exponential gates, and no feed-forward layer behind it."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)
        self.gates = nn.Linear(width, 8, **kw)

    def forward(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, 4, -1).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        i, f = self.gates(X).float().transpose(1, 2).chunk(2, 1)
        past = F.logsigmoid(f).cumsum(-1)
        level = past[..., :, None] - past[..., None, :] + i[..., None, :]
        seen = torch.ones(T, T, dtype=torch.bool, device=X.device).tril()
        level = level.masked_fill(~seen, float("-inf"))
        level = (level - level.amax(-1, keepdim=True)).exp().to(X.dtype)
        A = q @ k.mT / q.shape[-1] ** 0.5 * level
        Y = A @ v / A.sum(-1, keepdim=True).abs().clamp_min(1.0)
        Y = F.layer_norm(Y, Y.shape[-1:])
        return self.out(Y.transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.mixer = Mixer(embed_dim, block_loc, **kw)

    def forward(self, X, **Z):
        return X + self.mixer(self.norm(X)), Z
