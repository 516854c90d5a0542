"""The residual block with norms on both sides of each sublayer."""

from torch import nn


class SandwichBlock(nn.Module):
    """A residual block that normalises what each sublayer reads and what it adds.

    X (B, T, d_model) -> (B, T, d_model): x = x + norm_after(mixer(norm_before(x))), then the
    same around the channel mixer with norms of its own.  Keeps the residual stream from growing
    with the sublayers' outputs.

    Source: CogView, Ding et al. 2021, arXiv 2105.13290, section 2.4 (Sandwich-LN).
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm_1": ("norm", "normalises what the sequence mixer reads"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_2": ("norm", "normalises what the sequence mixer adds"),
        "norm_3": ("norm", "normalises what the channel mixer reads"),
        "mlp": ("channel_mixer", "transforms every position"),
        "norm_4": ("norm", "normalises what the channel mixer adds"),
    }

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        norm_1,
        mixer,
        norm_2,
        norm_3,
        mlp,
        norm_4,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.mixer = mixer(d_model)
        self.norm_2 = norm_2(d_model)
        self.norm_3 = norm_3(d_model)
        self.mlp = mlp(d_model)
        self.norm_4 = norm_4(d_model)

    def forward(self, X, **Z):
        added, Z = self.norm_1(X, **Z)
        added, Z = self.mixer(added, **Z)
        added, Z = self.norm_2(added, **Z)
        X = X + added
        added, Z = self.norm_3(X, **Z)
        added, Z = self.mlp(added, **Z)
        added, Z = self.norm_4(added, **Z)
        return X + added, Z
