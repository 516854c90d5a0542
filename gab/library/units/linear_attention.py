"""Linear attention with positive features."""

import math

import torch.nn.functional as F
from torch import nn


class LinearAttention(nn.Module):
    """Attention with a feature map in place of the softmax, so that its cost grows linearly.

    X (B, T, d_model) -> (B, T, d_model): per head y_t = f(q_t) S_t / (f(q_t) n_t), S_t = S_{t-1} +
    f(k_t)^T v_t, n_t = n_{t-1} + f(k_t), f(x) = elu(x) + 1, which is positive.  The `position`
    child gets f(q) and f(k), (2 B H, T, head_dim), and turns them in the numerator only: turned
    features may be negative, which the denominator must never be.  In chunks of `chunk` steps:
    as masked attention inside, through the state between.

    Source: Katharopoulos et al. 2020, arXiv 2006.16236, section 3; position in the numerator as
    in RoFormer, Su et al. 2021, arXiv 2104.09864, section 3.3.
    Cost: O(T d_model^2 + T (chunk + head_dim) d_model), 4 d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"position": ("position", "turns features by where they stand")}
    choices = {"head_dim": (16, 32, 64), "chunk": (16, 32, 64)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
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
        self.position = position(self.head_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        qkv = self.qkv(X).unflatten(-1, (3, -1, self.head_dim))
        qk, v = qkv.permute(2, 0, 3, 1, 4).split((2, 1))
        plain = F.elu(qk) + 1
        placed, Z = self.position(plain.flatten(0, 2), **Z)
        # f(q) n_t with n_t the running sum of features.
        total = (plain[0] * plain[1].cumsum(-2)).sum(-1, keepdim=True)
        y = self._sum(*placed.view_as(plain), v.squeeze(0)) / total
        return self.out(y.transpose(1, 2).flatten(2)), Z

    def _sum(self, q, k, v):
        """Return sum_{s <= t} (q_t k_s) v_s for q, k, v (B, H, T, Dh)."""
        length = q.shape[-2]
        chunk = min(self.chunk, length)
        q, k, v = (
            F.pad(part, (0, 0, 0, -length % chunk)).unflatten(-2, (-1, chunk)) for part in (q, k, v)
        )
        added = k.mT @ v
        y = (q @ k.mT).tril() @ v + q @ (added.cumsum(-3) - added)
        return y.flatten(-3, -2)[..., :length, :]
