"""The mixer of Mamba-3."""

import math

import torch
import torch.nn.functional as F
from torch import nn

SLOWEST = 1e-4  # the smallest rate of decay


class Mamba3Mixer(nn.Module):
    """A selective state space model by the trapezoidal rule, whose state turns, gated.

    X (B, T, d_model) -> (B, T, d_model).  One projection gives the gate z and the input x (width
    E = expand * d_model each), B and C (d_state each, shared by all heads), a quarter as many
    angles w, and per head the raw step, rate and mix.  dt = softplus(raw + dt_bias), A =
    -softplus(rate), m = sigmoid(mix).  B and C go through their norms and get a bias per head.
    Per head, with R_t turning half of the state in pairs of channels by pi dt_t tanh(w_t),

        h_t = exp(dt_t A_t) R_t (h_{t-1} + (1 - m_t) dt_t B_{t-1}^T x_{t-1}) + m_t dt_t B_t^T x_t

    and y_t = C_t h_t + D x_t; then W_o (silu(z) * y).  It needs no convolution: the second term
    is one of two steps.  Computed without complex numbers: C and B are turned by the sum of all
    angles until their step, and the two terms are two sequences of the `recurrence` child, which
    gets x (2 B H, T, head_dim) as X and `queries`, `keys`, `log_decay` through Z.

    Starts: dt from 0.001 to 0.1 over the heads, as Mamba-2; both biases and D at 1.

    Source: Mamba-3, Lahoti et al. 2026, arXiv 2603.15569 (one input, one output).
    Cost: O(T d_model E) and twice the recurrence; about 3 d_model E + 2 d_model d_state parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ("queries", "keys", "log_decay")
    slots = {
        "b_norm": ("norm", "normalises B, width d_state"),
        "c_norm": ("norm", "normalises C, width d_state"),
        "recurrence": ("recurrence", "sums past inputs, weighted by C, B and the decay"),
    }
    choices = {"expand": (1, 2), "head_dim": (16, 32, 64), "d_state": (16, 32, 64, 128)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        b_norm,
        c_norm,
        recurrence,
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
        self.pairs = d_state // 4
        self.sizes = (width, width, d_state, d_state, heads, heads, heads, self.pairs)
        self.project = nn.Linear(d_model, sum(self.sizes), bias=False, **kw)
        self.b_norm, self.c_norm = b_norm(d_state), c_norm(d_state)
        self.recurrence = recurrence(self.head_dim)
        self.out = nn.Linear(width, d_model, bias=False, **kw)
        dt = torch.linspace(math.log(0.1), math.log(0.001), heads, **kw).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) = dt
        self.b_bias = nn.Parameter(torch.ones(heads, d_state, **kw))
        self.c_bias = nn.Parameter(torch.ones(heads, d_state, **kw))
        self.D = nn.Parameter(torch.ones(heads, **kw))

    def forward(self, X, **Z):
        gate, x, B, C, raw, rate, mix, angle = self.project(X).split(self.sizes, dim=-1)
        B, Z = self.b_norm(B, **Z)
        C, Z = self.c_norm(C, **Z)
        dt, mix = F.softplus(raw + self.dt_bias), torch.sigmoid(mix)
        log_decay = -dt * F.softplus(rate).clamp(min=SLOWEST)
        # Sums over time and their cosines need single precision at least.
        turned = torch.promote_types(dt.dtype, torch.float32)
        angle = (torch.pi * torch.tanh(angle).unsqueeze(2) * dt.unsqueeze(-1)).to(turned).cumsum(1)
        keys = self._turn(B.unsqueeze(2) + self.b_bias, angle)  # (B, T, H, d_state)
        queries = self._turn(C.unsqueeze(2) + self.c_bias, angle)
        x = x.unflatten(-1, (-1, self.head_dim))  # (B, T, H, P)
        now, before = mix * dt, (1 - mix) * dt * log_decay.exp()
        both = [keys * now.unsqueeze(-1), self._earlier(keys) * before.unsqueeze(-1)]
        Z = {
            **Z,
            "queries": self._heads([queries, queries]),
            "keys": self._heads(both),
            "log_decay": self._heads([log_decay.unsqueeze(-1)] * 2),
        }
        y, Z = self.recurrence(self._heads([x, self._earlier(x)]), **Z)
        y = y.unflatten(0, (2, len(X), -1)).sum(0).transpose(1, 2)
        y = y + self.D.unsqueeze(-1) * x
        return self.out(y.flatten(2) * F.silu(gate)), Z

    def _turn(self, part, angle):
        """Return B or C (B, T, H, d_state) with its first pairs of channels turned."""
        one, other, rest = part.split((self.pairs, self.pairs, 2 * self.pairs), dim=-1)
        cos, sin = angle.cos().to(part.dtype), angle.sin().to(part.dtype)
        return torch.cat((one * cos - other * sin, one * sin + other * cos, rest), dim=-1)

    @staticmethod
    def _earlier(part):
        """Return what stood one step earlier, (B, T, H, ...), zeros at first."""
        return F.pad(part, (0, 0, 0, 0, 1, 0))[:, :-1]

    @staticmethod
    def _heads(parts):
        """Return parts (B, T, H, ...) one after the other as (2 B H, T, ...)."""
        return torch.cat(parts).transpose(1, 2).flatten(0, 1)
