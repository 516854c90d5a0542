"""The channel mixing of RWKV-6."""

import torch
from torch import nn


class RWKV6ChannelMix(nn.Module):
    """A feed-forward layer that also looks one position back, gated by a sigmoid.

    X (B, T, d_model) -> (B, T, d_model).  With x' from the `shift` child: k = W_k (x + (x' - x) *
    mix_k), r = W_r (x + (x' - x) * mix_r), result sigmoid(r) * W_v relu(k)^2; no biases, hidden
    width `expand` * d_model rounded to a multiple of 16.  Mixes start by channel and depth.

    Source: RWKV-6 (Finch), Peng et al. 2024, arXiv 2404.05892, channel mixing (expand 3.5).
    Cost: O(T expand d_model^2), (2 expand + 1) d_model^2 parameters.
    """

    interface = "channel_mixer"
    inputs = ()
    outputs = ()
    slots = {"shift": ("local_mixer", "a view of the positions just before")}
    choices = {"expand": (2.0, 3.0, 3.5, 4.0)}

    def __init__(self, d_model, block_loc, *, shift, expand: float = 3.5, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        hidden = 16 * max(1, round(expand * d_model / 16))
        self.shift = shift(d_model)
        self.key = nn.Linear(d_model, hidden, bias=False, **kw)
        self.receptance = nn.Linear(d_model, d_model, bias=False, **kw)
        self.value = nn.Linear(hidden, d_model, bias=False, **kw)
        rest = 1 - block_loc[0] / max(1, block_loc[1])
        mix = 1 - (torch.arange(d_model, **kw) / d_model) ** rest
        self.mix_k, self.mix_r = nn.Parameter(mix), nn.Parameter(mix.clone())

    def forward(self, X, **Z):
        shifted, Z = self.shift(X, **Z)
        back = shifted - X
        hidden = torch.relu(self.key(X + back * self.mix_k)).square()
        gate = torch.sigmoid(self.receptance(X + back * self.mix_r))
        return gate * self.value(hidden), Z
