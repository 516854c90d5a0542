"""A decaying sum computed in chunks of 16 with the state carried between them."""

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.rate = nn.Parameter(torch.linspace(0, 3, width, **kw))
        self.inp = nn.Linear(width, width, **kw)
        self.out = nn.Linear(width, width, **kw)

    def forward(self, X):
        B, T, D = X.shape
        C = 16
        U = F.pad(self.inp(X), (0, 0, 0, -T % C)).view(B, -1, C, D)
        keep = F.logsigmoid(self.rate)
        step = torch.arange(C, device=X.device, dtype=X.dtype)
        gap = (step[:, None] - step)[..., None]
        within = torch.where(gap >= 0, torch.exp(gap.clamp(min=0) * keep), 0.0)
        local = torch.einsum("tsd,bnsd->bntd", within, U)
        carry, carries = torch.zeros_like(U[:, 0, 0]), []
        for n in range(U.shape[1]):
            carries.append(carry)
            carry = carry * torch.exp(C * keep) + local[:, n, -1]
        fade = torch.exp((step[:, None] + 1) * keep)
        Y = local + fade * torch.stack(carries, 1)[:, :, None]
        return self.out(Y.reshape(B, -1, D)[:, :T])


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
