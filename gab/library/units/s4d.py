"""The diagonal state space model S4D."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class S4D(nn.Module):
    """A linear state space model with diagonal complex dynamics per channel, as a convolution.

    X (B, T, d_model) -> (B, T, d_model).  Each channel u has `modes` complex states: h_t =
    exp(dt A) h_{t-1} + ((exp(dt A) - 1) / A) u_t and y_t = 2 Re(C h_t) + D u_t, with A =
    -exp(rate) + i freq (zero-order hold, B = 1).  Then GELU and a gated linear unit:
    a * sigmoid(b) with (a, b) = W_o gelu(y).  The kernel 2 Re(C (exp(dt A) - 1) / A exp(t dt A))
    is applied by FFT over 2 T points, zeros behind the sequence.

    Starts (S4D-Lin): A = -1/2 + i pi n for mode n, dt from 0.001 to 0.1 logarithmically over the
    channels, C normal with variance 1/2 in each part, D = 1.
    Source: Gu et al. 2022, arXiv 2206.11893.
    Cost: O(T d_model^2 + T (log2(T) + modes) d_model), 2 d_model^2 + 4 modes d_model parameters;
    the kernel takes T modes d_model memory.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"modes": (4, 8, 16, 32)}

    def __init__(self, d_model, block_loc, *, modes: int = 8, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        log_dt = torch.linspace(math.log(0.001), math.log(0.1), d_model, **kw)
        self.log_dt = nn.Parameter(log_dt)
        self.rate = nn.Parameter(torch.full((modes, d_model), math.log(0.5), **kw))
        freq = math.pi * torch.arange(modes, **kw).unsqueeze(-1).repeat(1, d_model)
        self.freq = nn.Parameter(freq)
        self.read = nn.Parameter(torch.empty(2, modes, d_model, **kw).normal_(0, 0.5**0.5))
        self.direct = nn.Parameter(torch.ones(d_model, **kw))
        self.out = nn.Linear(d_model, 2 * d_model, bias=False, **kw)

    def forward(self, X, **Z):
        points = 2 * X.shape[1]
        # FFTs of half precision exist for few lengths only.
        exact = X.to(torch.promote_types(X.dtype, torch.float32))
        spectrum = torch.fft.rfft(exact, n=points, dim=1)
        response = torch.fft.rfft(self._kernel(X.shape[1], exact.dtype), n=points, dim=0)
        y = torch.fft.irfft(spectrum * response, n=points, dim=1)[:, : X.shape[1]].to(X.dtype)
        value, gate = self.out(F.gelu(y + self.direct * X)).chunk(2, dim=-1)
        return value * torch.sigmoid(gate), Z

    def _kernel(self, length, dtype):
        """Return the kernel (length, d_model)."""
        A = torch.complex(-self.rate.to(dtype).exp(), self.freq.to(dtype))
        step = A * self.log_dt.to(dtype).exp()
        scale = torch.complex(*self.read.to(dtype)) * (step.exp() - 1) / A
        time = torch.arange(length, device=A.device, dtype=dtype)[:, None, None]
        return 2 * (scale * (step * time).exp()).sum(1).real
