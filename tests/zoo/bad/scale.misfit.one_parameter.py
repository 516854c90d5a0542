"""One parameter a block: no number of blocks makes a model of any size."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, device=device, dtype=dtype))

    def forward(self, X, **Z):
        count = torch.arange(1, X.shape[1] + 1, device=X.device, dtype=X.dtype)[:, None]
        return X + self.gain * torch.tanh(X.cumsum(1) / count), Z
