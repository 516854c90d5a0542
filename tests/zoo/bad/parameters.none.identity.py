"""Returns what it is given."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()

    def forward(self, X, **Z):
        return X, Z
