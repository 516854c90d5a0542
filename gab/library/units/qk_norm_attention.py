"""Causal attention with normalised queries and keys."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class QKNormAttention(nn.Module):
    """Multi-head causal self-attention whose queries and keys are normalised per head.

    X (B, T, d_model) -> (B, T, d_model): softmax(norm_q(q) norm_k(k)^T / sqrt(head_dim)) v, so
    that no score can run away while training.  Norms see (B H, T, head_dim), then the `position`
    child queries and keys of all heads, (2 B H, T, head_dim); no biases.

    Source: Henry et al. 2020, arXiv 2010.04245; with a norm of learned gain, Dehghani et al. 2023,
    arXiv 2302.05442, section 2.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters and those of the norms.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "query_norm": ("norm", "normalises each head's queries"),
        "key_norm": ("norm", "normalises each head's keys"),
        "position": ("position", "tells queries and keys where they stand"),
    }
    choices = {"head_dim": (16, 32, 64, 128)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        query_norm,
        key_norm,
        position,
        head_dim: int = 32,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.query_norm = query_norm(self.head_dim)
        self.key_norm = key_norm(self.head_dim)
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        q, Z = self.query_norm(q.flatten(0, 1), **Z)
        k, Z = self.key_norm(k.flatten(0, 1), **Z)
        placed, Z = self.position(torch.cat((q, k)), **Z)
        q, k = placed.view(2, *v.shape)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z
