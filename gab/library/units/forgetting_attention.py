"""Causal softmax attention with a forget gate."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class ForgettingAttention(nn.Module):
    """Multi-head causal self-attention that forgets at a rate which depends on the input.

    X (B, T, d_model) -> (B, T, d_model): per head softmax over s <= t of q_t k_s / sqrt(head_dim)
    + sum_{s < r <= t} log f_r, with forget gates f_r = sigmoid(w x_r + b) of the head; no
    position child is needed, no other biases.  b starts evenly spaced from 1 to 5 over the heads
    (memories of about 3 to 150 steps; our choice).

    Source: Forgetting Transformer, Lin et al. 2025, arXiv 2503.02130.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 + H d_model parameters; scores take T^2 memory.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"head_dim": (16, 32, 64)}

    def __init__(self, d_model, block_loc, *, head_dim: int = 32, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        heads = d_model // self.head_dim
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.forget = nn.Linear(d_model, heads, bias=False, **kw)
        self.forget_bias = nn.Parameter(torch.linspace(1.0, 5.0, heads, **kw))
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        kept = F.logsigmoid(self.forget(X) + self.forget_bias).mT.cumsum(-1)  # (B, H, T)
        bias = kept.unsqueeze(-1) - kept.unsqueeze(-2)
        future = torch.ones(bias.shape[-2:], dtype=torch.bool, device=X.device).triu(1)
        bias = bias.masked_fill(future, float("-inf")).to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(y.transpose(1, 2).flatten(2)), Z
