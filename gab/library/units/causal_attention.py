"""Multi-head causal softmax attention."""

import math

import torch.nn.functional as F
from torch import nn


def attend(q, k, v):
    """Return causal softmax attention of q, k, v (B, H, T, Dh) in the same shape.

    On CUDA by xformers where it is installed and has a kernel for these tensors.
    """
    if q.is_cuda:
        try:
            from xformers.ops import LowerTriangularMask, memory_efficient_attention

            q_, k_, v_ = (part.transpose(1, 2) for part in (q, k, v))
            y = memory_efficient_attention(q_, k_, v_, attn_bias=LowerTriangularMask())
            return y.transpose(1, 2)
        except (ImportError, OSError, NotImplementedError, ValueError):
            pass
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class CausalAttention(nn.Module):
    """Multi-head causal self-attention.

    X (B, T, d_model) -> (B, T, d_model): per head softmax(q k^T / sqrt(head_dim)) v over the
    positions up to t, heads joined by an output projection, no biases.  The `position` child
    gets queries and keys of all heads, (2 B H, T, head_dim).  `head_dim` shrinks to the largest
    power-of-two fraction that divides d_model.

    Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 1 and section 3.2.2.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters.
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
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))  # (2, B, H, T, Dh) and (1, B, H, T, Dh)
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        y = attend(q, k, v.squeeze(0))
        return self.out(y.transpose(1, 2).flatten(2)), Z
