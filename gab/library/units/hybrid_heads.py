"""Two sequence mixers side by side."""

import torch
from torch import nn


class HybridHeads(nn.Module):
    """Two mixers read the same input; their normalised results are averaged.

    X (B, T, d_model) -> (B, T, d_model): (gain_1 * norm_1(mixer_1(x)) + gain_2 *
    norm_2(mixer_2(x))) / 2, gains per channel starting at 1.  Meant for unlike mixers: one that
    recalls exactly and one that summarises cheaply.

    Source: Hymba, Dong et al. 2024, arXiv 2411.13676, section 2.1, with an output projection in
    each mixer instead of one behind the mean.
    Cost: that of its children.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "mixer_1": ("sequence_mixer", "one way of looking back, such as attention"),
        "norm_1": ("norm", "normalises what the first mixer gives"),
        "mixer_2": ("sequence_mixer", "another way of looking back, such as a recurrence"),
        "norm_2": ("norm", "normalises what the second mixer gives"),
    }

    def __init__(
        self, d_model, block_loc, *, mixer_1, norm_1, mixer_2, norm_2, device=None, dtype=None
    ):
        super().__init__()
        self.mixer_1 = mixer_1(d_model)
        self.norm_1 = norm_1(d_model)
        self.mixer_2 = mixer_2(d_model)
        self.norm_2 = norm_2(d_model)
        self.gain = nn.Parameter(torch.ones(2, d_model, device=device, dtype=dtype))

    def forward(self, X, **Z):
        first, Z = self.mixer_1(X, **Z)
        first, Z = self.norm_1(first, **Z)
        second, Z = self.mixer_2(X, **Z)
        second, Z = self.norm_2(second, **Z)
        return (self.gain[0] * first + self.gain[1] * second) / 2, Z
