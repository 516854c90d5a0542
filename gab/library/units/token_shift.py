"""The shift by one position."""

import torch.nn.functional as F
from torch import nn


class TokenShift(nn.Module):
    """Every position gets what stood one position earlier; the first gets zeros.

    X (B, T, d_model) -> (B, T, d_model): x_{t-1}.  No parameters: the parent mixes it with x_t.

    Source: RWKV, Peng et al. 2023, arXiv 2305.13048, section 3 (token shift).
    Cost: O(T d_model).
    """

    interface = "local_mixer"
    inputs = ()
    outputs = ()
    slots = {}

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()

    def forward(self, X, **Z):
        return F.pad(X, (0, 0, 1, -1)), Z
