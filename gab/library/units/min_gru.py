"""The minimal gated recurrent unit."""

import torch
import torch.nn.functional as F
from torch import nn


def scan(keep, added):
    """Return h with h_t = keep_t * h_{t-1} + added_t along dim 1, for (B, T, D) and h_{-1} = 0.

    By doubling: after step n every h_t holds the last 2^n additions, so log2(T) steps suffice.
    Only products of `keep` occur: nothing overflows while it stays within 0 to 1.
    """
    distance = 1
    while distance < added.shape[1]:
        before = (0, 0, distance, -distance)
        added = added + keep * F.pad(added, before)
        keep = keep * F.pad(keep, before)
        distance *= 2
    return added


class MinGRU(nn.Module):
    """A gated recurrence whose gates see only the present position, so that it runs in parallel.

    X (B, T, d_model) -> (B, T, d_model): z = sigmoid(W_z x + b), c = W_c x, h_t = (1 - z_t) h_{t-1}
    + z_t c_t on `expand` * d_model channels, then silu(W_g x) * h and the output projection.
    b starts evenly spaced from -4 to 0 over the channels: memories of about 50 down to 2 steps.

    Source: Feng et al. 2024, arXiv 2410.01201, section 3.1; the gate on the output as in
    Mamba, Gu and Dao 2023, arXiv 2312.00752, section 3.4.
    Cost: O(T expand d_model^2 + T log2(T) expand d_model), 4 expand d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"expand": (1, 2)}

    def __init__(self, d_model, block_loc, *, expand: int = 1, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        width = expand * d_model
        self.project = nn.Linear(d_model, 3 * width, bias=False, **kw)
        self.forget = nn.Parameter(torch.linspace(-4.0, 0.0, width, **kw))
        self.out = nn.Linear(width, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        raw, candidate, gate = self.project(X).chunk(3, dim=-1)
        take = torch.sigmoid(raw + self.forget)
        h = scan(1 - take, take * candidate)
        return self.out(F.silu(gate) * h), Z
