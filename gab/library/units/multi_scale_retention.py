"""The retention of RetNet."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class MultiScaleRetention(nn.Module):
    """Linear attention with a fixed decay per head, normed per head and gated.

    X (B, T, d_model) -> (B, T, d_model).  Head h remembers with decay gamma_h = 1 - exp(l_h), l
    evenly spaced from log(1/32) to log(1/512): S_t = gamma S_{t-1} + k_t^T v_t, o_t = q_t S_t.
    Queries and keys go through `position` (2 B H, T, head_dim), keys are divided by
    sqrt(head_dim); values are `value_expand` times as wide.  The `recurrence` child gets the
    values (B H, T, value width) as X and `queries`, `keys`, `log_decay` through Z, and the
    `head_norm` child its result; then silu(W_gate x) * o and the output projection; no biases.

    Source: RetNet, Sun et al. 2023, arXiv 2307.08621, eqs. 5 to 8, decays as in section 3.1.
    Cost: O(T d_model^2) and the recurrence; (2 + 3 value_expand) d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ("queries", "keys", "log_decay")
    slots = {
        "position": ("position", "turns queries and keys by where they stand"),
        "recurrence": ("recurrence", "sums past values, weighted by query, key and decay"),
        "head_norm": ("norm", "normalises each head's result, width of a head's values"),
    }
    choices = {"head_dim": (16, 32, 64, 128), "value_expand": (1, 2)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        recurrence,
        head_norm,
        head_dim: int = 32,
        value_expand: int = 2,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.n_heads = d_model // self.head_dim
        width = value_expand * d_model
        self.qk = nn.Linear(d_model, 2 * d_model, bias=False, **kw)
        self.value_gate = nn.Linear(d_model, 2 * width, bias=False, **kw)
        self.position = position(self.head_dim)
        self.recurrence = recurrence(value_expand * self.head_dim)
        self.head_norm = head_norm(value_expand * self.head_dim)
        self.out = nn.Linear(width, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        batch, length = X.shape[:2]
        qk = self.qk(X).unflatten(-1, (2, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.chunk(2)
        v, gate = self.value_gate(X).chunk(2, dim=-1)
        v = v.unflatten(-1, (self.n_heads, -1)).transpose(1, 2).flatten(0, 1)
        decay = self._log_decay(X).repeat(batch)[:, None, None].expand(-1, length, 1)
        Z = {**Z, "queries": q, "keys": k / math.sqrt(self.head_dim), "log_decay": decay}
        y, Z = self.recurrence(v, **Z)
        y, Z = self.head_norm(y, **Z)
        y = y.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)
        return self.out(F.silu(gate) * y), Z

    def _log_decay(self, like):
        """Return log gamma (n_heads,)."""
        start, end = math.log(1 / 32), math.log(1 / 512)
        forget = torch.linspace(start, end, self.n_heads, device=like.device, dtype=like.dtype)
        return torch.log1p(-forget.exp())
