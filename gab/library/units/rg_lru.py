"""The recurrent block of Griffin."""

import torch
import torch.nn.functional as F
from torch import nn

SHARPNESS = 8.0


def scan(keep, added):
    """Return h with h_t = keep_t * h_{t-1} + added_t along dim 1, for (B, T, D) and h_{-1} = 0.

    By doubling: after step n every h_t holds the last 2^n additions, so log2(T) steps suffice.
    Only products of `keep` occur: nothing overflows while it stays within 0 to 1.
    """
    distance = 1
    while distance < added.shape[1]:
        before = (0, 0, distance, -distance)
        added = added + keep * F.pad(added, before)
        keep = keep * F.pad(keep, before)
        distance *= 2
    return added


class RGLRU(nn.Module):
    """A real-gated linear recurrence behind a short convolution, gated by a second branch.

    X (B, T, d_model) -> (B, T, d_model).  u = conv(W_u x) with the `convolution` child; gates
    r_t = sigmoid(W_r u_t + b_r) and i_t = sigmoid(W_i u_t + b_i); decay a_t = exp(-8
    softplus(L) r_t) per channel; h_t = a_t h_{t-1} + sqrt(1 - a_t^2) i_t u_t; result
    W_o (gelu(W_g x) * h).  Width of u: `expand` * d_model.

    Starts: decays at r = 1 evenly spaced from 0.9 to 0.999 over the channels; b_r, b_i zero.
    Source: Griffin, De et al. 2024, arXiv 2402.19427, section 2.4; full gate matrices instead of
    block-diagonal ones.
    Cost: O(T expand d_model^2 + T log2(T) expand d_model), (3 expand + 2 expand^2) d_model^2
    parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"convolution": ("local_mixer", "mixes a few positions before the recurrence")}
    choices = {"expand": (1, 2)}

    def __init__(
        self, d_model, block_loc, *, convolution, expand: int = 1, device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        width = expand * d_model
        self.project = nn.Linear(d_model, 2 * width, bias=False, **kw)
        self.convolution = convolution(width)
        self.gates = nn.Linear(width, 2 * width, bias=False, **kw)
        self.gates_bias = nn.Parameter(torch.zeros(2 * width, **kw))
        forget = -torch.linspace(0.9, 0.999, width, **kw).log() / SHARPNESS
        self.forget = nn.Parameter(forget.expm1().log())  # softplus(forget) as above
        self.out = nn.Linear(width, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        u, gate = self.project(X).chunk(2, dim=-1)
        u, Z = self.convolution(u, **Z)
        recur, enter = torch.sigmoid(self.gates(u) + self.gates_bias).chunk(2, dim=-1)
        log_keep = -SHARPNESS * F.softplus(self.forget) * recur
        # Not below 1e-10, where the root's slope would grow without bound.
        share = (-torch.expm1(2 * log_keep)).clamp(min=1e-10).sqrt()
        h = scan(log_keep.exp(), share * enter * u)
        return self.out(F.gelu(gate) * h), Z
