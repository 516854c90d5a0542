"""The delta rule with a decay."""

import math

import torch
import torch.nn.functional as F
from torch import nn

STRONGEST = -30.0  # exp(-30) = 1e-13 is forgotten; larger sums would cost fp32 its digits


class GatedDeltaNet(nn.Module):
    """A linear memory that decays as a whole and corrects what it holds under a key.

    X (B, T, d_model) -> (B, T, d_model).  Per head S_t = a_t (S_{t-1} - b_t k_t^T k_t S_{t-1}) +
    b_t k_t^T v_t and o_t = q_t S_t, with queries and keys silu'd and scaled to length 1, values
    silu'd, strength b_t = sigmoid(w_b x_t) and decay a_t = exp(-exp(A) softplus(w_a x_t + c)).
    The `convolution` child sees the joined projections (B, T, 3 d_model) before; the
    `head_norm` child norms o (B H, T, head_dim); then silu(W_g x) * o and the output projection.

    In chunks, as the delta rule, with every product of two steps weighted by the decay between
    them, which is never above 1.  Starts: exp(A) from 1 to 16 and softplus(c) from 0.1 to 0.001
    over the heads, as Mamba-2.

    Source: Yang et al. 2024, arXiv 2412.06464, sections 3.1 and 3.3.
    Cost: O(T d_model^2 + T (chunk + head_dim) d_model), 5 d_model^2 parameters and the
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
        heads = d_model // self.head_dim
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.gate = nn.Linear(d_model, d_model, bias=False, **kw)
        self.strength = nn.Linear(d_model, heads, bias=False, **kw)
        self.step = nn.Linear(d_model, heads, bias=False, **kw)
        self.convolution = convolution(3 * d_model)
        self.head_norm = head_norm(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)
        size = torch.linspace(math.log(0.1), math.log(0.001), heads, **kw).exp()
        self.step_bias = nn.Parameter(size + torch.log(-torch.expm1(-size)))
        self.rate_log = nn.Parameter(torch.linspace(1.0, 16.0, heads, **kw).log())

    def forward(self, X, **Z):
        qkv, Z = self.convolution(self.qkv(X), **Z)
        # Triangular systems are solved in single precision at least.
        qkv = F.silu(qkv).to(torch.promote_types(qkv.dtype, torch.float32))
        q, k, v = qkv.unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4).flatten(1, 2)
        strength = torch.sigmoid(self.strength(X))
        decay = -self.rate_log.exp() * F.softplus(self.step(X) + self.step_bias)
        strength, decay = (part.mT.flatten(0, 1).to(v.dtype) for part in (strength, decay))
        q, k = (F.normalize(part, dim=-1, eps=1e-6) for part in (q, k))
        y = self._remember(q, k, v, strength.unsqueeze(-1), decay.clamp(min=STRONGEST))
        y, Z = self.head_norm(y.to(X.dtype), **Z)
        y = y.unflatten(0, (len(X), -1)).transpose(1, 2).flatten(2)
        return self.out(F.silu(self.gate(X)) * y), Z

    def _remember(self, q, k, v, strength, log_decay):
        """Return o (N, T, Dh) of q, k, v (N, T, Dh), strength (N, T, 1) and log_decay (N, T)."""
        length = q.shape[1]
        chunk = min(self.chunk, length)
        # Steps added at the end write nothing and keep all: strength and log decay are zero.
        missing = -length % chunk
        q, k, v, strength = (
            F.pad(part, (0, 0, 0, missing)).unflatten(1, (-1, chunk))
            for part in (q, k, v, strength)
        )
        since = F.pad(log_decay, (0, missing)).unflatten(1, (-1, chunk)).cumsum(-1)
        future = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).triu(1)
        between = (since.unsqueeze(-1) - since.unsqueeze(-2)).masked_fill(future, float("-inf"))
        between, kept = between.exp(), since.exp().unsqueeze(-1)
        overlap = (strength * (k @ k.mT) * between).tril(-1)
        both = torch.cat((strength * v, strength * kept * k), dim=-1)
        # The diagonal counts as 1.
        solved = torch.linalg.solve_triangular(overlap, both, upper=False, unitriangular=True)
        write, erase = solved.chunk(2, dim=-1)
        scores = (q @ k.mT) * between
        read, to_end = q * kept, k * (since[..., -1:] - since).exp().unsqueeze(-1)
        state = torch.zeros_like(k[:, 0].mT @ v[:, 0])
        results = []
        for index in range(q.shape[1]):
            written = write[:, index] - erase[:, index] @ state
            results.append(read[:, index] @ state + scores[:, index] @ written)
            state = kept[:, index, -1:] * state + to_end[:, index].mT @ written
        return torch.stack(results, dim=1).flatten(1, 2)[:, :length]
