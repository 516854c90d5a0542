"""The gated linear recurrence of HGRN2."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class HGRN2(nn.Module):
    """A gated linear recurrence with a matrix state: what is forgotten makes room for the input.

    X (B, T, d_model) -> (B, T, d_model).  Per head, forget gates f_t = low + (1 - low)
    sigmoid(W_f x_t), S_t = diag(f_t) S_{t-1} + (1 - f_t)^T i_t and y_t = o_t S_t with inputs
    i = W_i x and output gates o = silu(W_o x).  `low` = index / number of blocks: deeper blocks
    cannot forget fast (published: learned bounds that grow with depth).  The `recurrence` child
    gets i (B H, T, head_dim) as X and o, 1 - f, log f as `queries`, `keys`, `log_decay` through
    Z; the `head_norm` child its result; then the output projection.

    Source: Qin et al. 2024, arXiv 2404.07904 (state expansion by outer product).
    Cost: O(T d_model^2) and the recurrence; 4 d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ("queries", "keys", "log_decay")
    slots = {
        "recurrence": ("recurrence", "sums past inputs, weighted by gates and decay"),
        "head_norm": ("norm", "normalises each head's result"),
    }
    choices = {"head_dim": (16, 32, 64, 128)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        recurrence,
        head_norm,
        head_dim: int = 32,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.low = block_loc[0] / max(1, block_loc[1])
        self.project = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.recurrence = recurrence(self.head_dim)
        self.head_norm = head_norm(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        parts = self.project(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        raw, entered, opened = parts.flatten(1, 2)
        # 1 - f by itself: the difference would lose its digits where f is close to 1.
        room = (1 - self.low) * torch.sigmoid(-raw)
        forget = self.low + (1 - self.low) * torch.sigmoid(raw)
        decay = forget.clamp(min=1e-13).log()
        Z = {**Z, "queries": F.silu(opened), "keys": room, "log_decay": decay}
        y, Z = self.recurrence(entered, **Z)
        y, Z = self.head_norm(y, **Z)
        return self.out(y.unflatten(0, (len(X), -1)).transpose(1, 2).flatten(2)), Z
