"""The frequency-domain unit, as source: units are read by the engine and never imported here."""

SOURCE = '''
import math

import torch
from torch import nn


class OscillatorMixer(nn.Module):
    """Causal convolution with a bank of damped oscillations, applied in the frequency domain.

    X (B, T, D) -> (B, T, D).  Channel d is convolved with
    k_d(t) = sum_m a_dm exp(-r_m t) cos(w_m t + p_dm) for t >= 0, so every position sees the whole
    past at a cost of T log T; both are padded to 2 T, so nothing of the future wraps around.
    A gate in the position decides what is passed on.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"modes": (4, 8, 16)}

    def __init__(self, d_model, block_loc, *, modes: int = 8, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.value = nn.Linear(d_model, d_model, bias=False, **kw)
        self.gate = nn.Linear(d_model, d_model, **kw)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)
        # Half-lives and periods from one position to about a thousand.
        spread = torch.linspace(0.0, 1.0, modes, **kw)
        self.log_rate = nn.Parameter(-6.0 * spread)
        self.frequency = nn.Parameter(math.pi * torch.exp(-5.0 * spread))
        self.amplitude = nn.Parameter(torch.randn(d_model, modes, **kw) / modes)
        self.phase = nn.Parameter(torch.zeros(d_model, modes, **kw))

    def forward(self, X, **Z):
        length = X.shape[1]
        t = torch.arange(length, device=X.device, dtype=X.dtype)
        decay = torch.exp(-torch.exp(self.log_rate)[:, None] * t)
        angle = self.frequency[:, None] * t
        real = (self.amplitude * torch.cos(self.phase)) @ (decay * torch.cos(angle))
        imaginary = (self.amplitude * torch.sin(self.phase)) @ (decay * torch.sin(angle))
        kernel = real - imaginary  # (D, T)
        v = self.value(X).transpose(1, 2)
        spectrum = torch.fft.rfft(v, 2 * length) * torch.fft.rfft(kernel, 2 * length)
        mixed = torch.fft.irfft(spectrum, 2 * length)[..., :length].transpose(1, 2)
        return self.out(mixed * torch.sigmoid(self.gate(X))), Z
'''
