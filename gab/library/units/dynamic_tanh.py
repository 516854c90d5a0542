"""A squashing function in a norm's place."""

import torch
from torch import nn


class DynamicTanh(nn.Module):
    """Squash every channel by a tanh of learned steepness, then apply a learned gain and bias.

    X (B, T, d_model) -> (B, T, d_model): gain * tanh(steepness x) + bias; one steepness for all
    channels, starting at 0.5, gain at 1, bias at 0.  No statistics: large values are bounded as
    a norm would, without looking at the other channels.

    Source: Zhu et al. 2025, arXiv 2503.10622, section 4.
    Cost: O(T d_model), 2 d_model + 1 parameters.
    """

    interface = "norm"
    inputs = ()
    outputs = ()
    slots = {}

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()
        self.steepness = nn.Parameter(torch.full((1,), 0.5, device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.ones(d_model, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(d_model, device=device, dtype=dtype))

    def forward(self, X, **Z):
        return (self.weight * torch.tanh(self.steepness * X) + self.bias).to(X.dtype), Z
