"""Causal attention whose query heads share keys and values."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class GroupedQueryAttention(nn.Module):
    """Causal self-attention with fewer key and value heads than query heads.

    X (B, T, d_model) -> (B, T, d_model): H = d_model / head_dim query heads in G groups of equal
    size; the heads of a group attend over the same keys and values.  G is the largest divisor
    of H that divides `kv_heads` too; 1 is multi-query attention.  The `position` child gets
    queries and keys together, (B (H + G), T, head_dim); no biases.

    Source: Ainslie et al. 2023, arXiv 2305.13245, section 2.2; one group: Shazeer 2019,
    arXiv 1911.02150.
    Cost: O(T d_model^2 + T^2 d_model), (2 + 2 G / H) d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64), "kv_heads": (1, 2, 4)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        head_dim: int = 16,
        kv_heads: int = 2,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        heads = d_model // self.head_dim
        groups = math.gcd(kv_heads, heads)
        self.share = heads // groups
        self.sizes = (heads, groups, groups)
        self.qkv = nn.Linear(d_model, sum(self.sizes) * self.head_dim, bias=False, **kw)
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = (
            self.qkv(X).unflatten(-1, (-1, self.head_dim)).transpose(1, 2).split(self.sizes, dim=1)
        )
        qk = torch.cat((q, k), dim=1)
        placed, Z = self.position(qk.flatten(0, 1), **Z)
        q, k = placed.view_as(qk).split(self.sizes[:2], dim=1)
        k, v = (part.repeat_interleave(self.share, dim=1) for part in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z
