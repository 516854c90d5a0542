"""A cumulative mean through a fixed matrix: nothing to train."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        self.register_buffer("matrix", torch.eye(embed_dim, device=device, dtype=dtype))

    def forward(self, X, **Z):
        count = torch.arange(1, X.shape[1] + 1, device=X.device, dtype=X.dtype)[:, None]
        return X + F.gelu(X.cumsum(1) / count @ self.matrix), Z
