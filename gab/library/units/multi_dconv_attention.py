"""Causal attention behind short convolutions."""

import math

import torch.nn.functional as F
from torch import nn


class MultiDconvAttention(nn.Module):
    """Multi-head causal self-attention whose queries, keys and values see a few positions.

    X (B, T, d_model) -> (B, T, d_model): as causal attention, with the `convolution` child over
    the joined projections (B, T, 3 d_model) before heads are split, and the `position` child over
    queries and keys of all heads, (2 B H, T, head_dim); no biases.

    Source: Primer's multi-DConv-head attention, So et al. 2021, arXiv 2109.08668.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters and the convolution's.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "convolution": ("local_mixer", "mixes a few positions of queries, keys and values"),
        "position": ("position", "tells queries and keys where they stand"),
    }
    choices = {"head_dim": (16, 32, 64, 128)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        convolution,
        position,
        head_dim: int = 32,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.convolution = convolution(3 * d_model)
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv, Z = self.convolution(self.qkv(X), **Z)
        qkv = qkv.unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        y = F.scaled_dot_product_attention(q, k, v.squeeze(0), is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z
