"""The residual block of one sublayer."""

from torch import nn


class ResidualBlock(nn.Module):
    """A residual block with a sequence mixer and nothing else.

    X (B, T, d_model) -> (B, T, d_model): x + mixer(norm(x)).  For mixers that widen and gate
    inside and so need no channel mixer beside them.

    Source: the Mamba block, Gu and Dao 2023, arXiv 2312.00752, section 3.4.
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm": ("norm", "normalises what the mixer reads"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
    }

    def __init__(self, d_model, block_loc, *, norm, mixer, device=None, dtype=None):
        super().__init__()
        self.norm = norm(d_model)
        self.mixer = mixer(d_model)

    def forward(self, X, **Z):
        normed, Z = self.norm(X, **Z)
        mixed, Z = self.mixer(normed, **Z)
        return X + mixed, Z
