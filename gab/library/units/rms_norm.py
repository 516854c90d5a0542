"""Root-mean-square normalisation."""

import torch
import torch.nn.functional as F
from torch import nn


class RMSNorm(nn.Module):
    """Scale every position to root mean square 1, then by a learned gain per channel.

    X (B, T, d_model) -> (B, T, d_model): x / sqrt(mean(x^2) + eps) * gain, gain starting at 1.

    Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4.
    Cost: O(T d_model), d_model parameters.
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

    def forward(self, X, **Z):
        weight = self.weight.to(X.dtype)  # differs in mixed precision, where only equals are fused
        return F.rms_norm(X, X.shape[-1:], weight, self.eps), Z
