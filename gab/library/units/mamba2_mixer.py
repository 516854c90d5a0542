"""The mixer of Mamba-2."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Mamba2Mixer(nn.Module):
    """A selective state space model with one decay per head, gated.

    X (B, T, d_model) -> (B, T, d_model).  One projection gives the gate z (width E = expand *
    d_model), the input x (E), B and C (d_state each, shared by all heads) and one step size per
    head.  x, B and C go through the `convolution` child and a SiLU; the step is
    dt = softplus(raw + dt_bias).  Per head S_t = exp(dt A) S_{t-1} + B_t^T (dt x_t) and y_t =
    C_t S_t + D x_t with A = -exp(A_log).  The `recurrence` child gets dt x (B H, T, head_dim) as
    X and C, B, dt A as `queries`, `keys`, `log_decay` through Z.  The `gated_norm` child norms
    y * silu(z); then the output projection.  No biases but dt_bias and the convolution's.

    Starts: A from 1 to 16 and dt from 0.001 to 0.1 over the heads (the published ranges, evenly
    spaced instead of drawn: linearly for A, logarithmically and in the other direction for dt,
    so that every head has its own memory), D = 1.

    Source: Mamba-2, Dao and Gu 2024, arXiv 2405.21060, sections 6 and 7.
    Cost: O(T d_model E) and the recurrence; about 3 d_model E + 2 d_model d_state parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ("queries", "keys", "log_decay")
    slots = {
        "convolution": ("local_mixer", "mixes a few positions of x, B and C"),
        "recurrence": ("recurrence", "sums past inputs, weighted by C, B and the decay"),
        "gated_norm": ("norm", "normalises the gated result, width E"),
    }
    choices = {"expand": (1, 2), "head_dim": (16, 32, 64), "d_state": (16, 32, 64, 128)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        convolution,
        recurrence,
        gated_norm,
        expand: int = 2,
        head_dim: int = 64,
        d_state: int = 64,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        width = expand * d_model
        self.head_dim = math.gcd(head_dim, width)
        heads = width // self.head_dim
        self.sizes = (width, width + 2 * d_state, heads)
        self.parts = (width, d_state, d_state)
        self.project = nn.Linear(d_model, sum(self.sizes), bias=False, **kw)
        self.convolution = convolution(width + 2 * d_state)
        self.recurrence = recurrence(self.head_dim)
        self.gated_norm = gated_norm(width)
        self.out = nn.Linear(width, d_model, bias=False, **kw)
        dt = torch.linspace(math.log(0.1), math.log(0.001), heads, **kw).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) = dt
        self.A_log = nn.Parameter(torch.linspace(1.0, 16.0, heads, **kw).log())
        self.D = nn.Parameter(torch.ones(heads, **kw))

    def forward(self, X, **Z):
        gate, xBC, raw = self.project(X).split(self.sizes, dim=-1)
        xBC, Z = self.convolution(xBC, **Z)
        x, B, C = F.silu(xBC).split(self.parts, dim=-1)
        dt = F.softplus(raw + self.dt_bias)
        x = x.unflatten(-1, (-1, self.head_dim))  # (B, T, H, P)
        Z = {
            **Z,
            "queries": self._per_head(C),
            "keys": self._per_head(B),
            "log_decay": (dt * -self.A_log.exp()).mT.flatten(0, 1).unsqueeze(-1),
        }
        y, Z = self.recurrence((x * dt.unsqueeze(-1)).transpose(1, 2).flatten(0, 1), **Z)
        y = y.unflatten(0, (X.shape[0], -1)).transpose(1, 2) + self.D.unsqueeze(-1) * x
        y, Z = self.gated_norm(y.flatten(2) * F.silu(gate), **Z)
        return self.out(y), Z

    def _per_head(self, shared):
        """Return (B, T, d_state) repeated for every head as (B H, T, d_state)."""
        return shared.unsqueeze(1).expand(-1, self.sizes[2], -1, -1).flatten(0, 1)
