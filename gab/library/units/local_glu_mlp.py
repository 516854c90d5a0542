"""The gated feed-forward layer that sees the close past."""

import torch.nn.functional as F
from torch import nn


class LocalGLUMLP(nn.Module):
    """A gated feed-forward layer over each position and its close past.

    X (B, T, d_model) -> (B, T, d_model): with u = x + local(x) from the `local` child,
    W_down (act(W_gate u) * W_up u), no biases, hidden width `expand` * d_model rounded to a
    multiple of 16; `act` is silu, gelu or mish.

    Source: gated layers, Shazeer 2020, arXiv 2002.05202, eq. 6; a view of the previous position
    before a feed-forward layer as in RWKV, Peng et al. 2023, arXiv 2305.13048, section 3.
    Cost: O(T expand d_model^2), 3 expand d_model^2 parameters and the child's.
    """

    interface = "channel_mixer"
    inputs = ()
    outputs = ()
    slots = {"local": ("local_mixer", "close past that is added to what is projected")}
    choices = {"expand": (1.5, 2.0, 2.667, 4.0), "act": ("silu", "gelu", "mish")}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        local,
        expand: float = 2.667,
        act: str = "silu",
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        hidden = 16 * max(1, round(expand * d_model / 16))
        self.local = local(d_model)
        self.gate_up = nn.Linear(d_model, 2 * hidden, bias=False, **kw)
        self.down = nn.Linear(hidden, d_model, bias=False, **kw)
        self.act = {"silu": F.silu, "gelu": F.gelu, "mish": F.mish}[act]

    def forward(self, X, **Z):
        near, Z = self.local(X, **Z)
        gate, up = self.gate_up(X + near).chunk(2, dim=-1)
        return self.down(self.act(gate) * up), Z
