"""Two causal convolutions, the second of them dilated."""

import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.near = nn.Conv1d(width, width, 3, groups=width, **kw)
        self.far = nn.Conv1d(width, width, 3, dilation=4, groups=width, **kw)
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        Y = F.silu(self.near(F.pad(X.mT, (2, 0))))
        return self.out(F.silu(self.far(F.pad(Y, (8, 0)))).mT)


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
