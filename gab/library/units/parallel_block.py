"""The residual block with its sublayers side by side."""

from torch import nn


class ParallelBlock(nn.Module):
    """A residual block whose sequence mixer and channel mixer read the same normed input.

    X (B, T, d_model) -> (B, T, d_model): n = norm(x); x + mixer(n) + mlp(n).

    Source: PaLM, Chowdhery et al. 2022, arXiv 2204.02311, section 2 (parallel layers).
    Cost: that of its children; one norm less than the serial form.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm": ("norm", "normalises what both mixers read"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "mlp": ("channel_mixer", "transforms every position"),
    }

    def __init__(self, d_model, block_loc, *, norm, mixer, mlp, device=None, dtype=None):
        super().__init__()
        self.norm = norm(d_model)
        self.mixer = mixer(d_model)
        self.mlp = mlp(d_model)

    def forward(self, X, **Z):
        normed, Z = self.norm(X, **Z)
        over_time, Z = self.mixer(normed, **Z)
        over_channels, Z = self.mlp(normed, **Z)
        return X + over_time + over_channels, Z
