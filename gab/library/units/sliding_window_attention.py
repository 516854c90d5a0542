"""Causal attention over a sliding window."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def attend_window(q, k, v, window):
    """Return softmax attention of q, k, v (B, H, T, Dh) over the last `window` positions.

    In chunks of `window` queries, each against its own and the previous chunk of keys.
    """
    length = q.shape[-2]
    if length <= window:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    pad = (0, 0, 0, -length % window)
    q, k, v = (F.pad(part, pad).unflatten(-2, (-1, window)) for part in (q, k, v))
    k, v = (torch.cat((F.pad(part, (0, 0, 0, 0, 1, -1)), part), -2) for part in (k, v))
    query = torch.arange(window, device=q.device)[:, None] + window
    key = torch.arange(2 * window, device=q.device)
    near = (key <= query) & (key > query - window)
    mask = near.repeat(q.shape[-3], 1, 1)
    mask[0] &= key >= window  # nothing stands before the first chunk
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return y.flatten(-3, -2)[..., :length, :]


class SlidingWindowAttention(nn.Module):
    """Multi-head causal self-attention in which a position sees only its last neighbours.

    X (B, T, d_model) -> (B, T, d_model): softmax(q k^T / sqrt(head_dim)) v over positions
    t - window + 1 to t; no biases.  The `position` child gets queries and keys of all heads,
    (2 B H, T, head_dim).

    Source: Longformer, Beltagy et al. 2020, arXiv 2004.05150, section 3.1; the causal window of
    Mistral 7B, Jiang et al. 2023, arXiv 2310.06825, section 2.
    Cost: O(T d_model^2 + T window d_model), 4 d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64, 128), "window": (16, 32, 64, 128, 256)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        head_dim: int = 32,
        window: int = 64,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.window = window
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        y = attend_window(q, k, v.squeeze(0), self.window)
        return self.out(y.transpose(1, 2).flatten(2)), Z
