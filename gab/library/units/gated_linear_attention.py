"""Gated linear attention."""

import math

import torch
import torch.nn.functional as F
from torch import nn

TEMPERATURE = 16.0  # decays start close to 1


class GatedLinearAttention(nn.Module):
    """Linear attention with a decay per key channel that depends on the input, normed and gated.

    X (B, T, d_model) -> (B, T, d_model).  Per head S_t = diag(a_t) S_{t-1} + k_t^T v_t and o_t =
    q_t S_t / sqrt(key width), keys half as wide as values; a_t = sigmoid(W_2 W_1 x_t + b)^(1/16)
    with `rank` channels between W_1 and W_2.  The `recurrence` child gets the values
    (B H, T, head_dim) as X and `queries`, `keys`, `log_decay` through Z, the `head_norm` child its
    result; then silu(W_r x) * o and the output projection.

    Source: Yang et al. 2023, arXiv 2312.06635, section 4.4.
    Cost: O(T d_model^2) and the recurrence; 4 d_model^2 + 1.5 rank d_model parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ("queries", "keys", "log_decay")
    slots = {
        "recurrence": ("recurrence", "sums past values, weighted by query, key and decay"),
        "head_norm": ("norm", "normalises each head's result"),
    }
    choices = {"head_dim": (32, 64, 128), "rank": (8, 16, 32)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        recurrence,
        head_norm,
        head_dim: int = 32,
        rank: int = 16,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        width = math.gcd(head_dim, d_model)
        self.heads = d_model // width
        self.sizes = (d_model // 2, d_model // 2, d_model, d_model)
        self.project = nn.Linear(d_model, sum(self.sizes), bias=False, **kw)
        self.decay_down = nn.Linear(d_model, rank, bias=False, **kw)
        self.decay_up = nn.Linear(rank, d_model // 2, bias=False, **kw)
        self.decay_bias = nn.Parameter(torch.zeros(d_model // 2, **kw))
        self.recurrence = recurrence(width)
        self.head_norm = head_norm(width)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v, gate = self.project(X).split(self.sizes, dim=-1)
        decay = F.logsigmoid(self.decay_up(self.decay_down(X)) + self.decay_bias) / TEMPERATURE
        q, k, v, decay = (self._per_head(part) for part in (q, k, v, decay))
        Z = {**Z, "queries": q / math.sqrt(q.shape[-1]), "keys": k, "log_decay": decay}
        y, Z = self.recurrence(v, **Z)
        y, Z = self.head_norm(y, **Z)
        y = y.unflatten(0, (len(X), -1)).transpose(1, 2).flatten(2)
        return self.out(F.silu(gate) * y), Z

    def _per_head(self, values):
        """Return (B, T, width) as (B H, T, width / H)."""
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(0, 1)
