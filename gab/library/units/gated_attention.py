"""Causal attention with a gate on what each head found."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class GatedAttention(nn.Module):
    """Multi-head causal self-attention whose joined heads are gated before the output projection.

    X (B, T, d_model) -> (B, T, d_model): W_o (sigmoid(W_g x) * heads), a gate value per channel;
    heads as in causal attention.  A head that found nothing can so add nothing, without pouring
    its weight on the first position.  The `position` child gets queries and keys of all heads,
    (2 B H, T, head_dim); no biases.

    Source: Qiu et al. 2025, arXiv 2505.06708, elementwise gate at the attention's output (G1).
    Cost: O(T d_model^2 + T^2 d_model), 5 d_model^2 parameters.
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
        self.gate = nn.Linear(d_model, d_model, bias=False, **kw)
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        y = F.scaled_dot_product_attention(q, k, v.squeeze(0), is_causal=True)
        return self.out(torch.sigmoid(self.gate(X)) * y.transpose(1, 2).flatten(2)), Z
