"""Test-time training with a linear inner model."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class TTTLinear(nn.Module):
    """A layer whose state is the weight of a small model, trained on the sequence as it is read.

    X (B, T, d_model) -> (B, T, d_model).  Per head the inner model f(x) = x + LN(x W + b) learns
    to turn the key of a step into its value, by gradient descent on |f(k) - v|^2 / 2 with all
    gradients of a mini-batch of `mini_batch` steps taken at its start (W0): position t of it
    reads f(q_t) with W_t = W0 - rate_t sum_{s<=t} eta_s dloss_s/dW.  eta_s =
    sigmoid(w_eta x_s + b_eta) / head_dim, rate_t = 1 / (t + 1) + a learned offset, not below 0.
    The `position` child turns queries and keys, counted anew in every mini-batch, (2 B H T /
    mini_batch, mini_batch, head_dim).  The `out_norm` child norms the joined heads; then the
    output projection.

    Computed in the dual form: within a mini-batch as masked products, W carried between
    mini-batches; b stands as a row of W, beside a channel of keys and queries that is always 1.

    Starts: W normal with deviation 0.02, b zero, inner norm gain 1 and bias 0.
    Source: Sun et al. 2024, arXiv 2407.04620, sections 2.4 (mini-batch), 2.5 (dual form), 2.7.
    Cost: O(T d_model^2 + T (mini_batch + head_dim) d_model), 4 d_model^2 + d_model head_dim
    parameters; T / mini_batch steps one after the other.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "position": ("position", "tells queries and keys where they stand in a mini-batch"),
        "out_norm": ("norm", "normalises the joined heads"),
    }
    choices = {"head_dim": (16, 32, 64), "mini_batch": (8, 16, 32)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        out_norm,
        head_dim: int = 32,
        mini_batch: int = 16,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = width = math.gcd(head_dim, d_model)
        self.mini_batch = mini_batch
        heads = d_model // width
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.eta = nn.Linear(d_model, heads, **kw)
        self.rate_offset = nn.Parameter(torch.zeros(mini_batch, **kw))
        self.inner_weight = nn.Parameter(torch.empty(heads, width, width, **kw).normal_(0, 0.02))
        self.inner_bias = nn.Parameter(torch.zeros(heads, 1, width, **kw))
        self.norm_weight = nn.Parameter(torch.ones(heads, 1, width, **kw))
        self.norm_bias = nn.Parameter(torch.zeros(heads, 1, width, **kw))
        self.position = position(width)
        self.out_norm = out_norm(d_model)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        length = X.shape[1]
        # Steps added at the end come after all others: causality keeps them out of sight.
        X = F.pad(X, (0, 0, 0, -length % self.mini_batch))
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).unflatten(1, (-1, self.mini_batch))
        qk, v = qkv.permute(3, 1, 0, 4, 2, 5).split((2, 1))  # (2, chunks, B, H, steps, Dh)
        placed, Z = self.position(qk.flatten(0, 3), **Z)
        q, k = placed.view_as(qk)
        eta = torch.sigmoid(self.eta(X)).unflatten(1, (-1, self.mini_batch)) / self.head_dim
        inner = self._descend(q, k, v.squeeze(0), eta.permute(1, 0, 3, 2))
        y = q + self._norm(inner)
        y = y.permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)  # (B, T, d_model)
        y, Z = self.out_norm(y[:, :length], **Z)
        return self.out(y), Z

    def _descend(self, q, k, v, eta):
        """Return q_t W_t + b_t for q, k, v (chunks, B, H, steps, Dh) and eta (.., steps)."""
        target = v - k
        q, k = (F.pad(part, (0, 1), value=1.0) for part in (q, k))
        count = torch.arange(1, self.mini_batch + 1, device=q.device, dtype=q.dtype)
        rate = (1 / count + self.rate_offset).clamp(min=0)
        step = (rate.unsqueeze(-1) * eta.unsqueeze(-2)).tril()  # (chunks, B, H, steps, steps)
        pull = (q @ k.mT) * step
        push = (k * step[..., -1, :, None]).mT
        weight = torch.cat((self.inner_weight, self.inner_bias), dim=1).expand(
            *q.shape[1:3], -1, -1
        )
        results = []
        for chunk in range(q.shape[0]):
            error = self._gradient(k[chunk] @ weight, target[chunk])
            results.append(q[chunk] @ weight - pull[chunk] @ error)
            weight = weight - push[chunk] @ error
        return torch.stack(results)

    def _norm(self, inner):
        return F.layer_norm(inner, inner.shape[-1:], eps=1e-6) * self.norm_weight + self.norm_bias

    def _gradient(self, inner, target):
        """Return the derivative of |LN(inner) - target|^2 / 2 by inner (.., steps, Dh)."""
        scale = torch.rsqrt(inner.var(-1, unbiased=False, keepdim=True) + 1e-6)
        normal = (inner - inner.mean(-1, keepdim=True)) * scale
        slope = (normal * self.norm_weight + self.norm_bias - target) * self.norm_weight
        along = (slope * normal).mean(-1, keepdim=True)
        return (slope - slope.mean(-1, keepdim=True) - normal * along) * scale
