"""The Hyena operator of order two."""

import math

import torch
from torch import nn


class Hyena(nn.Module):
    """Two long convolutions with implicit filters, each followed by a gate.

    X (B, T, d_model) -> (B, T, d_model): (v, x1, x2) = conv(W x) with the `convolution` child
    over (B, T, 3 d_model); z = x1 * (h1 * v); y = x2 * (h2 * z), a dot of a filter meaning its
    causal convolution; result W_o y.  A filter is h(t) = exp(-rate t) rate net(t), net(t) a small
    network with sines on features of t: t / horizon and `bands` waves over the horizon.  By FFT
    over 2 T points, zeros behind the sequence.

    Starts: rates from 1/2 to 1/256 per step over the channels (fixed in the published code,
    learned here), weights of the network normal with deviation fan-in^-0.5.
    Source: Poli et al. 2023, arXiv 2302.10866; time counted in units of a
    fixed horizon instead of the sequence's length, so that a position's output does not depend
    on how long the sequence is.
    Cost: O(T d_model^2 + T log2(T) d_model), 4 d_model^2 + 2 width d_model parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {"convolution": ("local_mixer", "mixes a few positions of the projections")}
    choices = {"width": (16, 32, 64), "bands": (4, 8, 16), "horizon": (128, 256, 512)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        convolution,
        width: int = 32,
        bands: int = 8,
        horizon: int = 256,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.horizon, self.bands = horizon, bands
        self.project = nn.Linear(d_model, 3 * d_model, bias=False, **kw)
        self.convolution = convolution(3 * d_model)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

        def layer(fan_in, fan_out):
            return nn.Parameter(torch.empty(fan_in, fan_out, **kw).normal_(0, fan_in**-0.5))

        self.first, self.second = layer(2 * bands + 1, width), layer(width, width)
        self.last = layer(width, 2 * d_model)
        rate = torch.linspace(math.log(1 / 2), math.log(1 / 256), d_model, **kw)
        self.log_rate = nn.Parameter(rate.repeat(2))
        self.direct = nn.Parameter(torch.ones(2, d_model, **kw))

    def forward(self, X, **Z):
        joined, Z = self.convolution(self.project(X), **Z)
        v, *gates = joined.chunk(3, dim=-1)
        filters = self._filters(X.shape[1]).chunk(2, dim=-1)
        for gate, kernel, direct in zip(gates, filters, self.direct, strict=True):
            v = gate * (self._convolve(v, kernel) + direct * v)
        return self.out(v), Z

    def _filters(self, length):
        """Return both filters side by side (length, 2 d_model)."""
        kw = {"device": self.last.device, "dtype": self.last.dtype}
        time = torch.arange(length, **kw).unsqueeze(-1)
        angle = time * torch.arange(1, self.bands + 1, **kw) * (2 * math.pi / self.horizon)
        features = torch.cat((time / self.horizon, angle.cos(), angle.sin()), dim=-1)
        hidden = torch.sin(torch.sin(features @ self.first) @ self.second)
        rate = self.log_rate.exp()
        return (-rate * time).exp() * rate * (hidden @ self.last)

    @staticmethod
    def _convolve(v, kernel):
        """Return the causal convolution of v (B, T, d_model) with kernel (T, d_model)."""
        length = v.shape[1]
        # FFTs of half precision exist for few lengths only.
        exact = torch.promote_types(v.dtype, torch.float32)
        spectrum = torch.fft.rfft(v.to(exact), n=2 * length, dim=1)
        response = torch.fft.rfft(kernel.to(exact), n=2 * length, dim=0)
        return torch.fft.irfft(spectrum * response, n=2 * length, dim=1)[:, :length].to(v.dtype)
