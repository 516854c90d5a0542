"""The residual block with a channel mixer on either side."""

from torch import nn


class MacaronBlock(nn.Module):
    """A residual block: half a step of a channel mixer, a sequence mixer, another half step.

    X (B, T, d_model) -> (B, T, d_model): x = x + mlp_1(norm_1(x)) / 2; x = x + mixer(norm_2(x));
    x = x + mlp_2(norm_3(x)) / 2.

    Source: Lu et al. 2019, arXiv 1906.02762 (Macaron Net), with pre-norm.
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm_1": ("norm", "normalises what the first channel mixer reads"),
        "mlp_1": ("channel_mixer", "transforms every position before it looks back"),
        "norm_2": ("norm", "normalises what the sequence mixer reads"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_3": ("norm", "normalises what the second channel mixer reads"),
        "mlp_2": ("channel_mixer", "transforms every position after it looked back"),
    }

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        norm_1,
        mlp_1,
        norm_2,
        mixer,
        norm_3,
        mlp_2,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.mlp_1 = mlp_1(d_model)
        self.norm_2 = norm_2(d_model)
        self.mixer = mixer(d_model)
        self.norm_3 = norm_3(d_model)
        self.mlp_2 = mlp_2(d_model)

    def forward(self, X, **Z):
        added, Z = self.norm_1(X, **Z)
        added, Z = self.mlp_1(added, **Z)
        X = X + added / 2
        added, Z = self.norm_2(X, **Z)
        added, Z = self.mixer(added, **Z)
        X = X + added
        added, Z = self.norm_3(X, **Z)
        added, Z = self.mlp_2(added, **Z)
        return X + added / 2, Z
