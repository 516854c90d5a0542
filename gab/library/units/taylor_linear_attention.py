"""Linear attention with the softmax's second-order series."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class TaylorLinearAttention(nn.Module):
    """Attention whose exponential is replaced by 1 + x + x^2 / 2, in linear time.

    X (B, T, d_model) -> (B, T, d_model): per head y_t = sum_{s<=t} w_ts v_s / sum_{s<=t} w_ts with
    x = q_t k_s / sqrt(features) and w = 1 + x + x^2 / 2, which is at least 1/2.  Queries and
    keys have `features` channels per head, values head_dim.  Inside a chunk of `chunk` steps w is
    computed as it stands; earlier chunks are read from the state over the expanded features
    (1, k, k x k), of 1 + features + features^2 rows.

    Source: Based, Arora et al. 2024, arXiv 2402.18668.
    Cost: O(T d_model^2 + T (chunk + features^2) d_model), (2 + 2 features / head_dim) d_model^2
    parameters; one state of features^2 head_dim per chunk and head.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"head_dim": (16, 32, 64), "features": (4, 8, 16), "chunk": (32, 64, 128)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        head_dim: int = 32,
        features: int = 8,
        chunk: int = 64,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.chunk = chunk
        self.features = features
        self.heads = d_model // math.gcd(head_dim, d_model)
        self.qk = nn.Linear(d_model, 2 * self.heads * features, bias=False, **kw)
        self.value = nn.Linear(d_model, d_model, bias=False, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        length = X.shape[1]
        chunk = min(self.chunk, length)
        # A channel that is always 1 makes the last sum the denominator; steps added at the end
        # come after all others.
        v = F.pad(self.value(X).unflatten(-1, (self.heads, -1)), (0, 1), value=1.0)
        qk = self.qk(X).unflatten(-1, (2, self.heads, -1)) * self.features**-0.25
        q, k, v = (
            F.pad(part.transpose(1, 2), (0, 0, 0, -length % chunk)).unflatten(-2, (-1, chunk))
            for part in (*qk.unbind(2), v)
        )
        product = q @ k.mT
        y = (1 + product + product.square() / 2).tril() @ v
        if q.shape[2] > 1:
            added = self._expand(k).mT @ v
            y = y + self._expand(q) @ (added.cumsum(2) - added)
        y = y.flatten(2, 3)[:, :, :length]
        y = y[..., :-1] / y[..., -1:]
        return self.out(y.transpose(1, 2).flatten(2)), Z

    @staticmethod
    def _expand(x):
        """Return features whose products are 1 + x + x^2 / 2, (..., F) -> (..., 1 + F + F^2)."""
        square = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) * math.sqrt(0.5)
        return torch.cat((torch.ones_like(x[..., :1]), x, square), dim=-1)
