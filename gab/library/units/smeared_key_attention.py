"""Causal attention whose keys know the token before them."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class SmearedKeyAttention(nn.Module):
    """Multi-head causal self-attention with each key mixed with the one before it.

    X (B, T, d_model) -> (B, T, d_model): as causal attention with k_t + a (k_{t-1} - k_t) in the
    place of k_t, where a = sigmoid(raw) is one learned number per head that starts at `previous`;
    before the start there are zeros.  A query that looks for its own token then finds what
    followed it last time, in one layer.  With `alike`, queries and keys start as the same
    projection, so that it does so from the first step on.  The `position` child gets queries and
    mixed keys of all heads, (2 B H, T, head_dim); no biases.

    Starts: projections as the model's others; with `alike` those of queries and keys from
    N(0, 1 / d_model), their product near the identity, and the values' from N(0, 2 / (5 d_model)).

    Source: Olsson et al. 2022, arXiv 2209.11895, argument 2 ("smeared keys"), without a word on
    where the share starts; `alike`: mimetic initialisation of queries and keys, Trockman and Kolter
    2023, arXiv 2305.09828.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters and one per head.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64, 128), "previous": (0.5, 0.8, 0.95)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        head_dim: int = 32,
        previous: float = 0.8,
        alike: bool = True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        if alike:
            self.qkv.keep_init = True
            if not self.qkv.weight.is_meta:
                _start_alike(self.qkv.weight)
        raw = math.log(previous / (1 - previous))
        self.smear = nn.Parameter(torch.full((d_model // self.head_dim, 1, 1), raw, **kw))
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        k = k + self.smear.sigmoid() * (F.pad(k, (0, 0, 1, -1)) - k)
        placed, Z = self.position(torch.cat((q, k)).flatten(0, 1), **Z)
        q, k = placed.view(2, *v.shape)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z


@torch.no_grad()
def _start_alike(weight):
    """Draw the joint projection (3 d_model, d_model) of queries, keys and values."""
    query, key, value = weight.chunk(3)
    query.normal_(0.0, weight.shape[1] ** -0.5)
    key.copy_(query)
    value.normal_(0.0, (0.4 / weight.shape[1]) ** 0.5)
