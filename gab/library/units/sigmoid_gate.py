"""A learned gate between 0 and 1."""

import torch
from torch import nn


class SigmoidGate(nn.Module):
    """Gate values of every channel, each seen from the whole position.

    X (B, T, d_model) -> (B, T, d_model): sigmoid(W x + open), between 0 and 1.  `open` starts at
    2, so that the gate lets 88 percent through until it has learned better.

    Source: highway networks, Srivastava et al. 2015, arXiv 1505.00387, eq. 3, with a bias
    that starts open.
    Cost: O(T d_model^2), d_model^2 + d_model parameters.
    """

    interface = "gate"
    inputs = ()
    outputs = ()
    slots = {}

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()
        self.gate = nn.Linear(d_model, d_model, bias=False, device=device, dtype=dtype)
        self.open = nn.Parameter(torch.full((d_model,), 2.0, device=device, dtype=dtype))

    def forward(self, X, **Z):
        return torch.sigmoid(self.gate(X) + self.open), Z
