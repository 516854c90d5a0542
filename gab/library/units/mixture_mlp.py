"""A dense mixture of experts."""

import torch.nn.functional as F
from torch import nn


class MixtureMLP(nn.Module):
    """Feed-forward experts, mixed by a router that sees only the position itself.

    X (B, T, d_model) -> (B, T, d_model): sum_e p_e W_2e gelu(W_1e x) with p = softmax(W_r x) over
    `experts` experts, which together are `expand` * d_model wide.  Every expert runs at every
    position: nothing is dropped, nothing competes for places, so that no position learns of
    another; the mixture adds capacity by its choice, not by sparsity.

    Source: Shazeer et al. 2017, arXiv 1701.06538, section 2 (softmax gating, eq. 2, before the
    sparse one).
    Cost: O(T expand d_model^2), (2 expand + experts / d_model) d_model^2 parameters.
    """

    interface = "channel_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"experts": (2, 4, 8), "expand": (2, 4)}

    def __init__(
        self, d_model, block_loc, *, experts: int = 4, expand: int = 4, device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.experts = experts
        self.router = nn.Linear(d_model, experts, bias=False, **kw)
        self.up = nn.Linear(d_model, expand * d_model, bias=False, **kw)
        self.down = nn.Linear(expand * d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        share = self.router(X).softmax(-1).unsqueeze(-1)
        hidden = F.gelu(self.up(X)).unflatten(-1, (self.experts, -1))
        # The sum over experts is part of the second projection.
        return self.down((share * hidden).flatten(-2)), Z
