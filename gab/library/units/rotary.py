"""Rotary position."""

import torch
from torch import nn


class Rotary(nn.Module):
    """Turn pairs of channels by an angle that grows with the position.

    X (N, T, d_model) -> (N, T, d_model), heads folded into N.  Channel i and channel i + d_model/2
    make a plane that turns by t * base^(-2i / d_model) at position t = 0, 1, ...: the product of
    a turned query and a turned key depends on their distance only.  A last odd channel stays.

    Source: RoFormer, Su et al. 2021, arXiv 2104.09864, eqs. 15 and 34 (halves as planes instead
    of neighbours: a permutation of channels).
    Cost: O(T d_model), no parameters.
    """

    interface = "position"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"base": (100.0, 1000.0, 10000.0, 100000.0)}

    def __init__(self, d_model, block_loc, *, base: float = 10000.0, device=None, dtype=None):
        super().__init__()
        self.base = base

    def forward(self, X, **Z):
        half = X.shape[-1] // 2
        # At least fp32: half precision cannot tell position 2047 from 2048.
        exact = torch.promote_types(X.dtype, torch.float32)
        channel = torch.arange(half, device=X.device, dtype=exact)
        time = torch.arange(X.shape[1], device=X.device, dtype=exact)
        angle = time[:, None] * self.base ** (-channel / max(1, half))
        cos, sin = angle.cos().to(X.dtype), angle.sin().to(X.dtype)
        first, second, rest = X[..., :half], X[..., half : 2 * half], X[..., 2 * half :]
        turned = (first * cos - second * sin, second * cos + first * sin, rest)
        return torch.cat(turned, dim=-1), Z
