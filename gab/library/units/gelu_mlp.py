"""The plain feed-forward layer."""

import torch.nn.functional as F
from torch import nn


class GeluMLP(nn.Module):
    """A feed-forward layer of two projections with a GELU between them.

    X (B, T, d_model) -> (B, T, d_model): W_2 gelu(W_1 x), no biases, hidden width
    `expand` * d_model.

    Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 2, with the GELU of Hendrycks and Gimpel
    2016, arXiv 1606.08415.
    Cost: O(T expand d_model^2), 2 expand d_model^2 parameters.
    """

    interface = "channel_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"expand": (1, 2, 3, 4)}

    def __init__(self, d_model, block_loc, *, expand: int = 4, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.up = nn.Linear(d_model, expand * d_model, bias=False, **kw)
        self.down = nn.Linear(expand * d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        return self.down(F.gelu(self.up(X))), Z
