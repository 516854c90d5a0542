"""The feed-forward layer with a GELU gate."""

import torch.nn.functional as F
from torch import nn


class GegluMLP(nn.Module):
    """A feed-forward layer whose hidden values are gated by a GELU of a second projection.

    X (B, T, d_model) -> (B, T, d_model): W_down (gelu(W_gate x) * W_up x), no biases, hidden
    width `expand` * d_model rounded to a multiple of 16; 8/3 gives as many weights as a plain
    layer four times as wide.  One projection holds W_gate above W_up.

    Source: Shazeer 2020, arXiv 2002.05202, eq. 6 (GEGLU).
    Cost: O(T expand d_model^2), 3 expand d_model^2 parameters.
    """

    interface = "channel_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"expand": (1.5, 2.0, 2.667, 4.0)}

    def __init__(self, d_model, block_loc, *, expand: float = 2.667, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        hidden = 16 * max(1, round(expand * d_model / 16))
        self.gate_up = nn.Linear(d_model, 2 * hidden, bias=False, **kw)
        self.down = nn.Linear(hidden, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        gate, up = self.gate_up(X).chunk(2, dim=-1)
        return self.down(F.gelu(gate) * up), Z
