"""A cheap gate without an upper bound."""

import torch.nn.functional as F
from torch import nn


class LowRankSiluGate(nn.Module):
    """Gate values from a narrow bottleneck, by SiLU.

    X (B, T, d_model) -> (B, T, d_model): silu(1 + U V x) with V to d_model / `shrink` channels
    and U back; close to silu(1) = 0.73 at the start, so that what it gates is alive.

    Source: SiLU as a gate, Shazeer 2020, arXiv 2002.05202, eq. 5; the low-rank gate of gated
    linear attention, Yang et al. 2023, arXiv 2312.06635, section 4.4.
    Cost: O(T d_model^2 / shrink), 2 d_model^2 / shrink parameters.
    """

    interface = "gate"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"shrink": (2, 4, 8)}

    def __init__(self, d_model, block_loc, *, shrink: int = 4, device=None, dtype=None):
        super().__init__()
        rank = max(1, d_model // shrink)
        self.down = nn.Linear(d_model, rank, bias=False, device=device, dtype=dtype)
        self.up = nn.Linear(rank, d_model, bias=False, device=device, dtype=dtype)

    def forward(self, X, **Z):
        return F.silu(1.0 + self.up(self.down(X))), Z
