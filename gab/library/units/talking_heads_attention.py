"""Causal attention whose heads talk to each other."""

import math

import torch
from torch import nn


class TalkingHeadsAttention(nn.Module):
    """Multi-head causal self-attention with heads mixed before and after the softmax.

    X (B, T, d_model) -> (B, T, d_model): scores of all heads are mixed by an H x H matrix, then
    softmaxed over s <= t, then mixed by a second H x H matrix, then applied to each head's values.
    Both start as the identity, that is, as plain attention.  The `position` child gets queries
    and keys of all heads, (2 B H, T, head_dim); no biases.

    Source: Shazeer et al. 2020, arXiv 2003.02436.
    Cost: O(T d_model^2 + T^2 (d_model + H^2)), 4 d_model^2 + 2 H^2 parameters; scores take T^2
    memory per head.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "tells queries and keys where they stand")}
    choices = {"head_dim": (16, 32, 64)}

    def __init__(
        self, d_model, block_loc, *, position, head_dim: int = 16, device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        heads = d_model // self.head_dim
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.position = position(self.head_dim)
        self.before = nn.Parameter(torch.eye(heads, **kw))
        self.after = nn.Parameter(torch.eye(heads, **kw))
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        placed, Z = self.position(qk.flatten(0, 2), **Z)
        q, k = placed.view_as(qk)
        scores = self._mix(self.before, q @ k.mT / math.sqrt(self.head_dim))
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=X.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        y = self._mix(self.after, weights) @ v.squeeze(0)
        return self.out(y.transpose(1, 2).flatten(2)), Z

    @staticmethod
    def _mix(matrix, maps):
        """Return maps (B, H, T, T) with heads mixed by matrix (new H, old H)."""
        return torch.einsum("gh,bhts->bgts", matrix, maps)
