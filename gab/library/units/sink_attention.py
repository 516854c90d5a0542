"""Causal attention that may look at nothing."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class SinkAttention(nn.Module):
    """Multi-head causal self-attention with a learned sink in every softmax.

    X (B, T, d_model) -> (B, T, d_model): per head the weight of s <= t is exp(score_ts) /
    (exp(sink) + sum_r exp(score_tr)), with a learned `sink` per head that starts at 0: a head
    with nothing to say need not lean on the first position.  The `position` child gets queries
    and keys of all heads, (2 B H, T, head_dim); no biases.

    Source: attention sinks and the zero sink, Xiao et al. 2023, arXiv 2309.17453, section 3.3;
    the sink's learned logit generalises its fixed 0.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 + H parameters.
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
        self.sink = nn.Parameter(torch.zeros(d_model // self.head_dim, **kw))
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        # A position before the first, with key and value zero: its score is the bias alone.
        k, v = (F.pad(part, (0, 0, 1, 0)) for part in (k, v.squeeze(0)))
        length = X.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=X.device).triu(1)
        bias = torch.zeros(length, length, dtype=q.dtype, device=X.device)
        bias = bias.masked_fill(future, float("-inf")).expand(len(self.sink), -1, -1)
        sink = self.sink.to(q.dtype)[:, None, None].expand(-1, length, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=torch.cat((sink, bias), -1))
        return self.out(y.transpose(1, 2).flatten(2)), Z
