"""A convolution as long as the sequence."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class CausalLongConvolution(nn.Module):
    """Every channel convolved with its own decaying waves over the whole past, gated.

    X (B, T, d_model) -> (B, T, d_model): u = W_u x, y_t = sum_{s<=t} kernel_{t-s} u_s + D u_t,
    result W_o (silu(W_g x) * y).  kernel_t = sum_n exp(-rate_n t) (a_n cos(freq_n t) + b_n
    sin(freq_n t)) with `modes` waves per channel.  By FFT over 2 T points, zeros behind the
    sequence, so that the end does not run into the start.

    Starts: rates from 1/2 to 1/256 per step over the channels, frequencies 0, pi / modes, ..., a
    and b at rate / modes (the slowest wave then sums to about 1 / modes), D = 1.

    Source: diagonal state spaces as convolution, Gu et al. 2022, arXiv 2206.11893 (S4D);
    the gate of H3, Fu et al. 2022, arXiv 2212.14052, section 3.
    Cost: O(T d_model^2 + T log2(T) d_model), 3 d_model^2 + 4 modes d_model parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"modes": (1, 2, 4, 8)}

    def __init__(self, d_model, block_loc, *, modes: int = 4, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.project = nn.Linear(d_model, 2 * d_model, bias=False, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)
        log_rate = torch.linspace(math.log(1 / 2), math.log(1 / 256), d_model, **kw)
        self.log_rate = nn.Parameter(log_rate.repeat(modes, 1))
        frequency = torch.arange(modes, **kw) * (math.pi / modes)
        self.frequency = nn.Parameter(frequency.unsqueeze(-1).repeat(1, d_model))
        self.cosine = nn.Parameter(log_rate.exp().repeat(modes, 1) / modes)
        self.sine = nn.Parameter(self.cosine.detach().clone())
        self.direct = nn.Parameter(torch.ones(d_model, **kw))

    def forward(self, X, **Z):
        u, gate = self.project(X).chunk(2, dim=-1)
        points = 2 * X.shape[1]
        # FFTs of half precision exist for few lengths only.
        exact = u.to(torch.promote_types(u.dtype, torch.float32))
        spectrum = torch.fft.rfft(exact, n=points, dim=1)
        response = torch.fft.rfft(self._kernel(X.shape[1]).to(exact.dtype), n=points, dim=0)
        y = torch.fft.irfft(spectrum * response, n=points, dim=1)[:, : X.shape[1]].to(u.dtype)
        return self.out(F.silu(gate) * (y + self.direct * u)), Z

    def _kernel(self, length):
        """Return the kernel (length, d_model)."""
        time = torch.arange(length, device=self.sine.device, dtype=self.sine.dtype)[:, None, None]
        angle = time * self.frequency
        waves = self.cosine * angle.cos() + self.sine * angle.sin()
        return ((-self.log_rate.exp() * time).exp() * waves).sum(1)
