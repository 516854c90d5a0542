"""Rotary position for a part of the channels."""

import torch
from torch import nn


class PartialRotary(nn.Module):
    """Turn the first channels by an angle that grows with the position; leave the others alone.

    X (N, T, d_model) -> (N, T, d_model), heads folded into N.  Of the channels the first `share`,
    rounded to an even number of at least 2, make planes (i, i + half of them) that turn by
    t * base^(-i / half) at position t = 0, 1, ...; the rest compares content wherever it stands.

    Source: GPT-NeoX-20B, Black et al. 2022, arXiv 2204.06745, section 2.1.1 (a share of 25
    percent).
    Cost: O(T d_model), no parameters.
    """

    interface = "position"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"share": (0.25, 0.5, 0.75), "base": (100.0, 1000.0, 10000.0, 100000.0)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        share: float = 0.25,
        base: float = 10000.0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.half = max(1, round(share * d_model / 2)) if d_model > 1 else 0
        self.base = base

    def forward(self, X, **Z):
        # At least fp32: half precision cannot tell position 2047 from 2048.
        exact = torch.promote_types(X.dtype, torch.float32)
        channel = torch.arange(self.half, device=X.device, dtype=exact)
        time = torch.arange(X.shape[1], device=X.device, dtype=exact)
        angle = time[:, None] * self.base ** (-channel / max(1, self.half))
        cos, sin = angle.cos().to(X.dtype), angle.sin().to(X.dtype)
        first, second, rest = X.tensor_split((self.half, 2 * self.half), dim=-1)
        turned = (first * cos - second * sin, second * cos + first * sin, rest)
        return torch.cat(turned, dim=-1), Z
