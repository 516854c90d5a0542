"""Causal attention whose keys and values are mixed with those before them."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class KVShiftingAttention(nn.Module):
    """Multi-head causal self-attention over keys and values of two positions.

    X (B, T, d_model) -> (B, T, d_model): as causal attention with k_t = a_0 k_t + a_1 k_{t-1} and
    v_t = b_0 v_t + b_1 v_{t-1}, zeros before the start, and four learned numbers per head.  They
    start as shares, a_1 = 1 - a_0 and b_1 = 1 - b_0, spread evenly over the heads instead of drawn:
    keys from the present to the previous one, values the other way, so that every head compares
    one position and returns the next.  The `position` child gets queries and mixed keys of all
    heads, (2 B H, T, head_dim); no biases.

    Source: Xu et al. 2024, arXiv 2411.19574, section 3.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters and four per head.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64, 128)}

    def __init__(
        self, d_model, block_loc, *, position, head_dim: int = 32, device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        heads = d_model // self.head_dim
        share = (torch.arange(heads, **kw) + 0.5).div(heads)
        self.keys = nn.Parameter(torch.stack((1 - share, share)).view(2, heads, 1, 1))
        self.values = nn.Parameter(torch.stack((share, 1 - share)).view(2, heads, 1, 1))
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        k = self.keys[0] * k + self.keys[1] * F.pad(k, (0, 0, 1, -1))
        v = self.values[0] * v + self.values[1] * F.pad(v, (0, 0, 1, -1))
        placed, Z = self.position(torch.cat((q, k)).flatten(0, 1), **Z)
        q, k = placed.view(2, *v.shape)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z
