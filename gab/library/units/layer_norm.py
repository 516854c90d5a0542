"""Layer normalisation."""

import torch
import torch.nn.functional as F
from torch import nn


class LayerNorm(nn.Module):
    """Centre every position, scale it to variance 1, then apply a learned gain and bias.

    X (B, T, d_model) -> (B, T, d_model): (x - mean) / sqrt(var + eps) * gain + bias, gain
    starting at 1 and bias at 0.

    Source: Ba, Kiros and Hinton 2016, arXiv 1607.06450, section 3.
    Cost: O(T d_model), 2 d_model parameters.
    """

    interface = "norm"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"eps": (1e-6, 1e-5)}

    def __init__(self, d_model, block_loc, *, eps: float = 1e-5, device=None, dtype=None):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(d_model, device=device, dtype=dtype))

    def forward(self, X, **Z):
        return F.layer_norm(X, X.shape[-1:], self.weight, self.bias, self.eps), Z
