"""The feed-forward layer of Primer."""

import torch
from torch import nn


class SquaredReluMLP(nn.Module):
    """A feed-forward layer of two projections with a squared ReLU between them.

    X (B, T, d_model) -> (B, T, d_model): W_2 relu(W_1 x)^2, no biases, hidden width
    `expand` * d_model.  Most hidden values are zero, large ones grow larger.

    Source: So et al. 2021, arXiv 2109.08668.
    Cost: O(T expand d_model^2), 2 expand d_model^2 parameters.
    """

    interface = "channel_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"expand": (2, 3, 4)}

    def __init__(self, d_model, block_loc, *, expand: int = 4, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.up = nn.Linear(d_model, expand * d_model, bias=False, **kw)
        self.down = nn.Linear(expand * d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        return self.down(torch.relu(self.up(X)).square()), Z
