"""The residual block with small learned steps."""

import torch
from torch import nn


class LayerScaleBlock(nn.Module):
    """A pre-norm residual block in which every channel learns how much of a sublayer it takes.

    X (B, T, d_model) -> (B, T, d_model): x = x + scale_1 * mixer(norm_1(x)); x = x + scale_2 *
    mlp(norm_2(x)), scales per channel starting at `start`, so that a new block is close to the
    identity.

    Source: CaiT, Touvron et al. 2021, arXiv 2103.17239, section 2 (LayerScale).
    Cost: that of its children; 2 d_model parameters.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm_1": ("norm", "normalises what the sequence mixer reads"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_2": ("norm", "normalises what the channel mixer reads"),
        "mlp": ("channel_mixer", "transforms every position"),
    }
    choices = {"start": (0.01, 0.1, 0.5)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        norm_1,
        mixer,
        norm_2,
        mlp,
        start: float = 0.1,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.mixer = mixer(d_model)
        self.norm_2 = norm_2(d_model)
        self.mlp = mlp(d_model)
        self.scale_1 = nn.Parameter(torch.full((d_model,), start, device=device, dtype=dtype))
        self.scale_2 = nn.Parameter(torch.full((d_model,), start, device=device, dtype=dtype))

    def forward(self, X, **Z):
        normed, Z = self.norm_1(X, **Z)
        mixed, Z = self.mixer(normed, **Z)
        X = X + self.scale_1 * mixed
        normed, Z = self.norm_2(X, **Z)
        mixed, Z = self.mlp(normed, **Z)
        return X + self.scale_2 * mixed, Z
