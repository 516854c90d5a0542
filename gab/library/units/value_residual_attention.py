"""Causal attention that keeps the first block's values in reach."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class ValueResidualAttention(nn.Module):
    """Multi-head causal self-attention over a mix of its own and the first block's values.

    X (B, T, d_model) -> (B, T, d_model).  As causal attention with v = own * v_here + first *
    v_first, where v_first (B, T, d_model) is the Z value `first_values`, written by the first
    unit of this kind that a forward pass meets and read by all later ones (whose values must
    have the same shape, else they use their own).  `own` and `first` start at 0.5.

    Source: ResFormer, Zhou et al. 2024, arXiv 2410.17897 (learnable mix).
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 + 2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ("first_values",)
    outputs = ("first_values",)
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64, 128)}

    def __init__(
        self, d_model, block_loc, *, position, head_dim: int = 32, device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.qk = nn.Linear(d_model, 2 * d_model, bias=False, **kw)
        self.value = nn.Linear(d_model, d_model, bias=False, **kw)
        self.own = nn.Parameter(torch.tensor(0.5, **kw))
        self.first = nn.Parameter(torch.tensor(0.5, **kw))
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qk = self.qk(X).unflatten(-1, (2, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        v = self.value(X)
        first = Z.get("first_values")
        if first is None:
            Z = {**Z, "first_values": v}
        if first is None or first.shape != v.shape:
            first = v
        v = (self.own * v + self.first * first).unflatten(-1, (-1, self.head_dim))
        y = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z
