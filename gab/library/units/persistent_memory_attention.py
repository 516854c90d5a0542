"""Causal attention over the past and learned memories."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class PersistentMemoryAttention(nn.Module):
    """Multi-head causal self-attention that also sees learned keys and values at every position.

    X (B, T, d_model) -> (B, T, d_model): per head one softmax over the positions s <= t and
    `memories` learned key-value pairs, which stand nowhere: they are compared with the queries
    before the `position` child has turned them.  The child gets queries and keys of all heads,
    (2 B H, T, head_dim); no biases.  Memories start normal with deviation head_dim^-0.5.

    Source: Sukhbaatar et al. 2019, arXiv 1907.01470.
    Cost: O(T d_model^2 + T (T + memories) d_model), 4 d_model^2 + 2 memories d_model parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64), "memories": (4, 16, 64)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        head_dim: int = 32,
        memories: int = 16,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = width = math.gcd(head_dim, d_model)
        shape = (2, d_model // width, memories, width)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.position = position(width)
        self.memory = nn.Parameter(torch.empty(shape, **kw).normal_(0, width**-0.5))
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        memory_k, memory_v = self.memory.to(v.dtype).unsqueeze(1).expand(-1, len(X), -1, -1, -1)
        # Queries twice, as placed and as they are: each kind of key meets one half only.
        q = torch.cat((q, qk[0]), dim=-1)
        empty = (0, self.head_dim)
        k = torch.cat((F.pad(memory_k, empty[::-1]), F.pad(k, empty)), dim=-2)
        v = torch.cat((memory_v, v.squeeze(0)), dim=-2)
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=X.device)
        seen = seen.tril(self.memory.shape[-2])
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, scale=1 / math.sqrt(self.head_dim)
        )
        return self.out(y.transpose(1, 2).flatten(2)), Z
