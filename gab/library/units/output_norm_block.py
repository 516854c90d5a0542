"""The residual block with norms behind its sublayers."""

from torch import nn


class OutputNormBlock(nn.Module):
    """A residual block that normalises what each sublayer adds, and not what it reads.

    X (B, T, d_model) -> (B, T, d_model): x = x + norm_1(mixer(x)); x = x + norm_2(mlp(x)).  What
    enters the stream has a known size, whatever a sublayer computes.

    Source: OLMo 2, 2024, arXiv 2501.00656 (reordered norm).
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_1": ("norm", "normalises what the sequence mixer adds"),
        "mlp": ("channel_mixer", "transforms every position"),
        "norm_2": ("norm", "normalises what the channel mixer adds"),
    }

    def __init__(self, d_model, block_loc, *, mixer, norm_1, mlp, norm_2, device=None, dtype=None):
        super().__init__()
        self.mixer = mixer(d_model)
        self.norm_1 = norm_1(d_model)
        self.mlp = mlp(d_model)
        self.norm_2 = norm_2(d_model)

    def forward(self, X, **Z):
        added, Z = self.mixer(X, **Z)
        added, Z = self.norm_1(added, **Z)
        X = X + added
        added, Z = self.mlp(X, **Z)
        added, Z = self.norm_2(added, **Z)
        return X + added, Z
