"""Differential attention."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class DifferentialAttention(nn.Module):
    """Each head subtracts a second attention map from its first, so that common noise cancels.

    X (B, T, d_model) -> (B, T, d_model).  A head has two pairs of queries and keys of width
    head_dim and values twice as wide: (softmax(q1 k1^T) - share softmax(q2 k2^T)) v, scores over
    sqrt(head_dim).  share = exp(a1 b1) - exp(a2 b2) + start with learned vectors a and b of the
    layer (normal, deviation 0.1) and start = 0.8 - 0.6 exp(-0.3 index), index of the block.  Each
    head goes through `head_norm`, times 1 - start, then the output projection.  The `position`
    child gets all queries and keys, (4 B H, T, head_dim); no biases.

    Source: Ye et al. 2024, arXiv 2410.05258, section 2.1.
    Cost: O(T d_model^2 + T^2 d_model), two softmaxes; 4 d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "position": ("position", "tells queries and keys where they stand"),
        "head_norm": ("norm", "normalises each head's difference, width 2 head_dim"),
    }
    choices = {"head_dim": (8, 16, 32, 64)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        head_norm,
        head_dim: int = 16,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.width = math.gcd(2 * head_dim, d_model)
        self.start = 0.8 - 0.6 * math.exp(-0.3 * block_loc[0])
        self.qk = nn.Linear(d_model, 2 * d_model, bias=False, **kw)
        self.value = nn.Linear(d_model, d_model, bias=False, **kw)
        self.share = nn.Parameter(torch.empty(2, 2, self.width // 2, **kw).normal_(0, 0.1))
        self.position = position(self.width // 2)
        self.head_norm = head_norm(self.width)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qk = self.qk(X).unflatten(-1, (2, -1, 2, self.width // 2)).permute(2, 4, 0, 3, 1, 5)
        placed, Z = self.position(qk.flatten(0, 3), **Z)
        q, k = placed.view_as(qk)  # (2 maps, B, H, T, Dh)
        v = self.value(X).unflatten(-1, (-1, self.width)).transpose(1, 2)
        first, second = (
            F.scaled_dot_product_attention(q[i], k[i], v, is_causal=True) for i in range(2)
        )
        plus, minus = self.share.prod(0).sum(-1).exp()
        y = first - (plus - minus + self.start) * second
        y, Z = self.head_norm(y.flatten(0, 1), **Z)
        y = (1 - self.start) * y.view_as(first)
        return self.out(y.transpose(1, 2).flatten(2)), Z
