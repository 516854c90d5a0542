"""The post-norm block for deep stacks."""

from torch import nn


class DeepNormBlock(nn.Module):
    """A post-norm residual block whose stream weighs more the deeper the model is.

    X (B, T, d_model) -> (B, T, d_model): x = norm_1(a x + mixer(x)); x = norm_2(a x + mlp(x)) with
    a = (2 N)^(1/4) for N blocks.

    Source: DeepNet, Wang et al. 2022, arXiv 2203.00555 (decoder-only); its smaller
    starting weights are left to the children.
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_1": ("norm", "normalises the stream behind the sequence mixer"),
        "mlp": ("channel_mixer", "transforms every position"),
        "norm_2": ("norm", "normalises the stream behind the channel mixer"),
    }

    def __init__(self, d_model, block_loc, *, mixer, norm_1, mlp, norm_2, device=None, dtype=None):
        super().__init__()
        self.stream = (2 * max(1, block_loc[1])) ** 0.25
        self.mixer = mixer(d_model)
        self.norm_1 = norm_1(d_model)
        self.mlp = mlp(d_model)
        self.norm_2 = norm_2(d_model)

    def forward(self, X, **Z):
        mixed, Z = self.mixer(X, **Z)
        X, Z = self.norm_1(self.stream * X + mixed, **Z)
        mixed, Z = self.mlp(X, **Z)
        return self.norm_2(self.stream * X + mixed, **Z)
