"""Fast weights that are corrected by their own error, in a loop (arXiv 2102.11174)."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(width, 3 * width, bias=False, **kw)
        self.out = nn.Linear(width, width, bias=False, **kw)
        self.rate = nn.Linear(width, 4, **kw)

    def forward(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, 4, D // 4).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        rate = self.rate(X).sigmoid().mT[..., None]
        state, outputs = torch.zeros_like(q[:, :, :1].mT * v[:, :, :1]), []
        for t in range(T):
            key, value = k[:, :, t, :, None], v[:, :, t, None]
            error = value - (key * state).sum(-2, keepdim=True)
            state = state + rate[:, :, t, None] * key * error
            outputs.append((q[:, :, t, :, None] * state).sum(-2))
        Y = torch.stack(outputs, 2)
        return self.out(Y.transpose(1, 2).reshape(B, T, D))


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
