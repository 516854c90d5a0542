"""The pre-norm residual block of two sublayers."""

from torch import nn


class PreNormBlock(nn.Module):
    """A residual block: a sequence mixer, then a channel mixer, each behind its own norm.

    X (B, T, d_model) -> (B, T, d_model): x = x + mixer(norm_1(x)); x = x + mlp(norm_2(x)).

    Source: Xiong et al. 2020, arXiv 2002.04745, figure 1b.
    Cost: that of its children.
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

    def __init__(self, d_model, block_loc, *, norm_1, mixer, norm_2, mlp, device=None, dtype=None):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.mixer = mixer(d_model)
        self.norm_2 = norm_2(d_model)
        self.mlp = mlp(d_model)

    def forward(self, X, **Z):
        normed, Z = self.norm_1(X, **Z)
        mixed, Z = self.mixer(normed, **Z)
        X = X + mixed
        normed, Z = self.norm_2(X, **Z)
        mixed, Z = self.mlp(normed, **Z)
        return X + mixed, Z
