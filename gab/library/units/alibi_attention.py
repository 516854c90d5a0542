"""Causal attention with linear distance penalties."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class AlibiAttention(nn.Module):
    """Multi-head causal self-attention whose scores fall linearly with distance.

    X (B, T, d_model) -> (B, T, d_model): per head h of H softmax over s <= t of
    q_t k_s / sqrt(head_dim) - slope_h (t - s), with slope_h = 2^(-8 h / H) for h = 1 .. H; no
    other notion of position, no biases.

    Source: ALiBi, Press et al. 2021, arXiv 2108.12409, section 3.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"head_dim": (16, 32, 64)}

    def __init__(self, d_model, block_loc, *, head_dim: int = 16, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(q))
        return self.out(y.transpose(1, 2).flatten(2)), Z

    @staticmethod
    def _bias(q):
        """Return what is added to the scores (H, T, T) of q (B, H, T, Dh)."""
        heads, length = q.shape[1:3]
        head = torch.arange(1, heads + 1, device=q.device, dtype=q.dtype)
        time = torch.arange(length, device=q.device, dtype=q.dtype)
        back = time - time.unsqueeze(-1)  # at most 0 in the past
        bias = 2.0 ** (-8.0 / heads * head)[:, None, None] * back
        return bias.masked_fill(back > 0, float("-inf"))
