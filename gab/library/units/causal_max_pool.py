"""The maximum over the last few positions."""

import torch
import torch.nn.functional as F
from torch import nn


class CausalMaxPool(nn.Module):
    """How strongly each channel was seen in the last `window` positions.

    X (B, T, d_model) -> (B, T, d_model): gain * max(x_{t - window + 1}, ..., x_t), the window cut
    off at the start; gain per channel starting at 1.

    Source: max-over-time pooling, Collobert et al. 2011, arXiv 1103.0398, over a causal window.
    Cost: O(T window d_model), d_model parameters.
    """

    interface = "local_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"window": (2, 4, 8)}

    def __init__(self, d_model, block_loc, *, window: int = 4, device=None, dtype=None):
        super().__init__()
        self.window = window
        self.gain = nn.Parameter(torch.ones(d_model, device=device, dtype=dtype))

    def forward(self, X, **Z):
        padded = F.pad(X.mT, (self.window - 1, 0), value=float("-inf"))
        return F.max_pool1d(padded, self.window, stride=1).mT * self.gain, Z
