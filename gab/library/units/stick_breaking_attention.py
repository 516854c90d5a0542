"""Stick-breaking attention."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class StickBreakingAttention(nn.Module):
    """Every position breaks a stick over its past, the nearest first.

    X (B, T, d_model) -> (B, T, d_model): y_t = sum_{s < t} A_ts v_s with A_ts = b_ts
    prod_{s < r < t} (1 - b_tr) and b_ts = sigmoid(q_t k_s / sqrt(head_dim)): the near past takes
    what it wants, the farther past shares the rest, and weights may sum to less than 1.  Recency
    stands in for position.  A position does not see itself; no biases.  Products are sums of
    logarithms, so nothing underflows early.

    Source: Tan et al. 2024, arXiv 2410.17980.
    Cost: O(T d_model^2 + T^2 d_model), 4 d_model^2 parameters; scores take T^2 memory.
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
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / math.sqrt(self.head_dim)
        past = torch.ones(scores.shape[-2:], dtype=torch.bool, device=X.device).tril(-1)
        left = F.logsigmoid(-scores).masked_fill(~past, 0.0)
        # What is left of the stick behind s: the sum over s < r < t.
        behind = F.pad(left.flip(-1).cumsum(-1).flip(-1)[..., 1:], (0, 1))
        weights = (F.logsigmoid(scores) + behind).masked_fill(~past, float("-inf")).exp()
        y = weights.to(v.dtype) @ v
        return self.out(y.transpose(1, 2).flatten(2)), Z
