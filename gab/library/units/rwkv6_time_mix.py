"""The time mixing of RWKV-6."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class RWKV6TimeMix(nn.Module):
    """Linear attention whose decay per channel, and whose view of the last position, depend on x.

    X (B, T, d_model) -> (B, T, d_model).  With x' from the `shift` child, five inputs are mixed
    as x + (x' - x) * (mix_i + tanh((x + (x' - x) * mix_x) A_i) B_i), one each for decay, key,
    value, receptance and gate.  Decay w = exp(-exp(decay + tanh(x_w A) B)).  Per head, with the
    state before the step and a bonus u for the step itself:
    y_t = r_t (S_{t-1} + diag(u) k_t^T v_t), S_t = diag(w_t) S_{t-1} + k_t^T v_t.
    The `recurrence` child gets values, keys and log decays one step late, and so returns
    r_t S_{t-1}.  Each head is normed, gated by silu(W_g x_g), and projected; no biases.

    Starts as published: mixes, decays and bonus by channel and depth; the low-rank matrices
    within 0.01, both of them, so that each has a gradient from the first step.

    Source: RWKV-6 (Finch), Peng et al. 2024, arXiv 2404.05892, Finch token shift and Finch
    time mixing; starting values and the head norm's eps (64e-5) as in the authors' training code.
    Cost: O(T d_model^2) and the recurrence; about 5 d_model^2 + 14 rank d_model parameters
    (rank 32 in the paper; narrower suits narrow models).
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ("queries", "keys", "log_decay")
    slots = {
        "shift": ("local_mixer", "a view of the positions just before"),
        "recurrence": ("recurrence", "sums past values, weighted by receptance, key and decay"),
    }
    choices = {"head_dim": (16, 32, 64), "rank": (8, 16, 32)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        shift,
        recurrence,
        head_dim: int = 32,
        rank: int = 16,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.shift = shift(d_model)
        self.recurrence = recurrence(self.head_dim)
        self.key = nn.Linear(d_model, d_model, bias=False, **kw)
        self.value = nn.Linear(d_model, d_model, bias=False, **kw)
        self.receptance = nn.Linear(d_model, d_model, bias=False, **kw)
        self.gate = nn.Linear(d_model, d_model, bias=False, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

        def small(*shape):
            return nn.Parameter(torch.empty(shape, **kw).uniform_(-0.01, 0.01))

        self.mix_down, self.mix_up = small(d_model, 5 * rank), small(5, rank, d_model)
        self.decay_down, self.decay_up = small(d_model, 2 * rank), small(2 * rank, d_model)
        self._start(d_model, block_loc, kw)
        self.norm_weight = nn.Parameter(torch.ones(d_model, **kw))
        self.norm_bias = nn.Parameter(torch.zeros(d_model, **kw))

    def _start(self, d_model, block_loc, kw):
        """Set mixes, decay and bonus (d_model,) by channel and depth."""
        layer, n_blocks = block_loc
        depth = layer / max(1, n_blocks - 1)  # 0 to 1
        rest = 1 - layer / max(1, n_blocks)  # 1 to almost 0
        channel = torch.arange(d_model, **kw)
        part = channel / d_model
        whole, half = 1 - part**rest, 1 - part ** (0.5 * rest)
        self.mix_x = nn.Parameter(whole.clone())
        # decay, key, value, receptance, gate
        self.mix = nn.Parameter(torch.stack((whole, whole, whole - 0.3 * depth, half, half)))
        ramp = channel / max(1, d_model - 1)
        self.decay = nn.Parameter(-6 + 5 * ramp ** (0.7 + 1.3 * depth))
        zigzag = ((channel + 1) % 3 - 1) * 0.1
        self.bonus = nn.Parameter(depth * (1 - ramp) + zigzag)

    def forward(self, X, **Z):
        shifted, Z = self.shift(X, **Z)
        back = shifted - X
        low = torch.tanh((X + back * self.mix_x) @ self.mix_down).chunk(5, dim=-1)
        x_w, x_k, x_v, x_r, x_g = (
            X + back * (mix + part @ up)
            for mix, part, up in zip(self.mix, low, self.mix_up, strict=True)
        )
        decay = self.decay + torch.tanh(x_w @ self.decay_down) @ self.decay_up
        # exp(5) is far below what the recurrence forgets at once; more would overflow.
        log_decay = self._heads(-decay.clamp(max=5.0).exp())
        r, k, v = (
            self._heads(part) for part in (self.receptance(x_r), self.key(x_k), self.value(x_v))
        )
        late = [F.pad(part, (0, 0, 1, -1)) for part in (k, v, log_decay)]
        Z = {**Z, "queries": r, "keys": late[0], "log_decay": late[2]}
        y, Z = self.recurrence(late[1], **Z)
        bonus = self.bonus.view(-1, 1, self.head_dim).repeat(X.shape[0], 1, 1)
        y = y + (r * bonus * k).sum(-1, keepdim=True) * v
        y = F.layer_norm(y, y.shape[-1:], eps=64e-5).unflatten(0, (X.shape[0], -1))
        y = y.transpose(1, 2).flatten(2) * self.norm_weight + self.norm_bias
        return self.out(y * F.silu(self.gate(x_g))), Z

    def _heads(self, values):
        """Return (B, T, d_model) as (B H, T, head_dim)."""
        return values.unflatten(-1, (-1, self.head_dim)).transpose(1, 2).flatten(0, 1)
