"""No position at all."""

from torch import nn


class NoPosition(nn.Module):
    """Leave queries and keys as they are: the causal mask alone tells positions apart.

    X (N, T, d_model) -> (N, T, d_model), heads folded into N: x.

    Source: NoPE, Kazemnejad et al. 2023, arXiv 2305.19466.
    Cost: nothing.
    """

    interface = "position"
    inputs = ()
    outputs = ()
    slots = {}

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()

    def forward(self, X, **Z):
        return X, Z
