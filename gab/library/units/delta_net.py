"""Linear attention with the delta rule."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class DeltaNet(nn.Module):
    """A linear memory that corrects, instead of adds, what it holds under a key.

    X (B, T, d_model) -> (B, T, d_model).  Per head S_t = S_{t-1} + b_t k_t^T (v_t - k_t S_{t-1})
    and o_t = q_t S_t, with queries and keys silu'd and scaled to length 1, values silu'd, and
    strength b_t = sigmoid(w x_t).  The `convolution` child sees the joined projections
    (B, T, 3 d_model) before; the `head_norm` child norms o (B H, T, head_dim); then the output
    projection.  No biases.

    In chunks of `chunk` steps (WY form): what each step writes, u = b (v - k S), solves the
    triangular system (1 + tril(b k k^T, -1)) u = b (v - k S_start); the state goes from chunk
    to chunk.

    Source: Schlag et al. 2021, arXiv 2102.11174 (rule); Yang et al. 2024, arXiv 2406.06484,
    section 3 (chunks).
    Cost: O(T d_model^2 + T (chunk + head_dim) d_model), 4 d_model^2 parameters and the
    convolution's; T / chunk steps one after the other.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "convolution": ("local_mixer", "mixes a few positions of queries, keys and values"),
        "head_norm": ("norm", "normalises each head's result"),
    }
    choices = {"head_dim": (16, 32, 64), "chunk": (16, 32, 64)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        convolution,
        head_norm,
        head_dim: int = 32,
        chunk: int = 32,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.chunk = chunk
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.strength = nn.Linear(d_model, d_model // self.head_dim, bias=False, **kw)
        self.convolution = convolution(3 * d_model)
        self.head_norm = head_norm(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv, Z = self.convolution(self.qkv(X), **Z)
        # Triangular systems are solved in single precision at least.
        qkv = F.silu(qkv).to(torch.promote_types(qkv.dtype, torch.float32))
        q, k, v = qkv.unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4).flatten(1, 2)
        strength = torch.sigmoid(self.strength(X)).mT.flatten(0, 1).unsqueeze(-1)
        q, k = (F.normalize(part, dim=-1, eps=1e-6) for part in (q, k))
        y = self._remember(q, k, v, strength.to(v.dtype)).to(X.dtype)
        y, Z = self.head_norm(y, **Z)
        return self.out(y.unflatten(0, (len(X), -1)).transpose(1, 2).flatten(2)), Z

    def _remember(self, q, k, v, strength):
        """Return o (N, T, Dh) of q, k, v (N, T, Dh) and strength (N, T, 1)."""
        length = q.shape[1]
        chunk = min(self.chunk, length)
        # Steps added at the end write nothing: their strength is zero.
        q, k, v, strength = (
            F.pad(part, (0, 0, 0, -length % chunk)).unflatten(1, (-1, chunk))
            for part in (q, k, v, strength)
        )
        overlap = (strength * (k @ k.mT)).tril(-1)
        both = torch.cat((strength * v, strength * k), dim=-1)
        # The diagonal counts as 1.
        solved = torch.linalg.solve_triangular(overlap, both, upper=False, unitriangular=True)
        write, erase = solved.chunk(2, dim=-1)
        scores = (q @ k.mT).tril()
        state = torch.zeros_like(k[:, 0].mT @ v[:, 0])
        results = []
        for index in range(q.shape[1]):
            written = write[:, index] - erase[:, index] @ state
            results.append(q[:, index] @ state + scores[:, index] @ written)
            state = state + k[:, index].mT @ written
        return torch.stack(results, dim=1).flatten(1, 2)[:, :length]
