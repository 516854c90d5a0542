"""Normalisation to one learned length."""

import torch
import torch.nn.functional as F
from torch import nn


class ScaleNorm(nn.Module):
    """Scale every position to the same length, which is learned.

    X (B, T, d_model) -> (B, T, d_model): length * x / max(|x|, eps), one number `length` for all
    channels, starting at sqrt(d_model).

    Source: Nguyen and Salazar 2019, arXiv 1910.05895.
    Cost: O(T d_model), 1 parameter.
    """

    interface = "norm"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"eps": (1e-6, 1e-5)}

    def __init__(self, d_model, block_loc, *, eps: float = 1e-5, device=None, dtype=None):
        super().__init__()
        self.eps = eps
        self.length = nn.Parameter(torch.full((1,), d_model**0.5, device=device, dtype=dtype))

    def forward(self, X, **Z):
        return (self.length * F.normalize(X, dim=-1, eps=self.eps)).to(X.dtype), Z
