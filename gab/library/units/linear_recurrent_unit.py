"""The linear recurrent unit."""

import math

import torch
from torch import nn

GOLDEN = (math.sqrt(5) - 1) / 2  # spreads phases evenly for any number of states


class LinearRecurrentUnit(nn.Module):
    """A complex diagonal recurrence between two dense maps, as a convolution.

    X (B, T, d_model) -> (B, T, d_model): h_t = lambda h_{t-1} + gamma B x_t on `states` complex
    states with lambda = exp(-exp(nu) + i exp(theta)), so that |lambda| < 1 always, and
    y_t = Re(C h_t) + D x_t.  The powers of lambda are applied by FFT over 2 T points, zeros behind
    the sequence.

    Starts: |lambda| from 0.8 to 0.999 with evenly spaced squares, phases spread over 0 to pi / 2,
    gamma = sqrt(1 - |lambda|^2), D = 1 (published: drawn at random from such a ring).
    Source: Orvieto et al. 2023, arXiv 2303.06349, section 3 and figure 1; no nonlinearity behind
    it, which the channel mixer brings.
    Cost: O(T states d_model + T log2(T) states), 4 states d_model parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"states": (32, 64, 128)}

    def __init__(self, d_model, block_loc, *, states: int = 64, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        square = torch.linspace(0.8**2, 0.999**2, states, **kw)
        number = torch.arange(1, states + 1, **kw)
        phase = (number * GOLDEN).remainder(1.0).clamp(min=1e-3) * (math.pi / 2)
        self.nu = nn.Parameter((-0.5 * square.log()).log())
        self.theta = nn.Parameter(phase.log())
        self.gamma = nn.Parameter((1 - square).sqrt())
        self.enter = nn.Linear(d_model, 2 * states, bias=False, **kw)
        self.read = nn.Linear(2 * states, d_model, bias=False, **kw)
        self.direct = nn.Parameter(torch.ones(d_model, **kw))

    def forward(self, X, **Z):
        length = X.shape[1]
        entered = self.enter(X)
        # FFTs of half precision exist for few lengths only.
        exact = torch.promote_types(entered.dtype, torch.float32)
        real, imaginary = entered.to(exact).chunk(2, dim=-1)
        entered = torch.complex(self.gamma.to(exact) * real, self.gamma.to(exact) * imaginary)
        spectrum = torch.fft.fft(entered, n=2 * length, dim=1)
        response = torch.fft.fft(self._powers(length, exact), n=2 * length, dim=0)
        h = torch.fft.ifft(spectrum * response, dim=1)[:, :length]
        # Re(C h) with the real and the negative imaginary part of C side by side.
        return self.read(torch.cat((h.real, h.imag), -1).to(X.dtype)) + self.direct * X, Z

    def _powers(self, length, dtype):
        """Return lambda^t for t < length, (length, states)."""
        log = torch.complex(-self.nu.to(dtype).exp(), self.theta.to(dtype).exp())
        return (torch.arange(length, device=log.device, dtype=dtype)[:, None] * log).exp()
