"""The matrix memory of xLSTM."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class MLSTM(nn.Module):
    """An LSTM with a matrix as memory and exponential input gates, in its parallel form.

    X (B, T, d_model) -> (B, T, d_model).  Per head C_t = f_t C_{t-1} + i_t k_t^T v_t,
    n_t = f_t n_{t-1} + i_t k_t, h_t = q_t C_t / max(|q_t n_t|, 1), keys over sqrt(head_dim),
    i_t = exp(w_i x_t + b_i) and f_t = sigmoid(w_f x_t + b_f); then the `head_norm` child and
    sigmoid(W_o x) * h before the output projection.

    All steps at once: scores q k^T times exp(D_ts - m_t), D_ts the sum of log f from s + 1 to t
    plus log i_s, m_t the largest of a row, which takes the place of the stabiliser state, so
    that the 1 of the denominator becomes exp(-m_t).
    Starts: b_f from 3 to 6 over the heads, b_i zero.
    Source: Beck et al. 2024, arXiv 2405.04517, section 2.3, in the parallel form of its appendix.
    Cost: O(T d_model^2 + T^2 d_model), 5 d_model^2 parameters; scores take T^2 memory per head.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"head_norm": ("norm", "normalises each head's result")}
    choices = {"head_dim": (16, 32, 64, 128)}

    def __init__(
        self, d_model, block_loc, *, head_norm, head_dim: int = 32, device=None, dtype=None
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        heads = d_model // self.head_dim
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.gates = nn.Linear(d_model, 2 * heads, bias=False, **kw)
        self.enter_bias = nn.Parameter(torch.zeros(heads, **kw))
        self.forget_bias = nn.Parameter(torch.linspace(3.0, 6.0, heads, **kw))
        self.head_norm = head_norm(self.head_dim)
        self.gate = nn.Linear(d_model, d_model, bias=False, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(X).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        enter, forget = self.gates(X).mT.chunk(2, dim=1)  # (B, H, T)
        enter = enter + self.enter_bias.unsqueeze(-1)
        kept = F.logsigmoid(forget + self.forget_bias.unsqueeze(-1)).cumsum(-1)
        log_weight = kept.unsqueeze(-1) + (enter - kept).unsqueeze(-2)
        future = torch.ones(log_weight.shape[-2:], dtype=torch.bool, device=X.device).triu(1)
        log_weight = log_weight.masked_fill(future, float("-inf"))
        # The result does not depend on the stabiliser, so neither does the gradient.
        largest = log_weight.detach().amax(-1, keepdim=True)
        scores = q @ k.mT / math.sqrt(self.head_dim) * (log_weight - largest).exp()
        total = scores.sum(-1, keepdim=True).abs()
        # Capped against overflow: beyond exp(60) the result is zero to all digits either way.
        y = scores.to(v.dtype) @ v / torch.maximum(total, (-largest).clamp(max=60.0).exp())
        y, Z = self.head_norm(y.flatten(0, 1), **Z)
        y = y.unflatten(0, (len(X), -1)).transpose(1, 2).flatten(2)
        return self.out(torch.sigmoid(self.gate(X)) * y), Z
