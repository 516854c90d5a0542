"""The pre-norm block with a look at the neighbours before each sublayer."""

from torch import nn


class CanonBlock(nn.Module):
    """A pre-norm residual block whose sublayers read each position mixed with its near past.

    X (B, T, d_model) -> (B, T, d_model): n = norm_1(x); x = x + mixer(n + local_1(n)); n =
    norm_2(x); x = x + mlp(n + local_2(n)).  The local mixers add to what they read, so that a
    short convolution can start small.

    Source: Canon layers, Allen-Zhu 2025, arXiv 2512.17351, at places A and C.
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm_1": ("norm", "normalises what the sequence mixer reads"),
        "local_1": ("local_mixer", "adds a few positions before the sequence mixer"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_2": ("norm", "normalises what the channel mixer reads"),
        "local_2": ("local_mixer", "adds a few positions before the channel mixer"),
        "mlp": ("channel_mixer", "transforms every position"),
    }

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        norm_1,
        local_1,
        mixer,
        norm_2,
        local_2,
        mlp,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.local_1 = local_1(d_model)
        self.mixer = mixer(d_model)
        self.norm_2 = norm_2(d_model)
        self.local_2 = local_2(d_model)
        self.mlp = mlp(d_model)

    def forward(self, X, **Z):
        normed, Z = self.norm_1(X, **Z)
        near, Z = self.local_1(normed, **Z)
        mixed, Z = self.mixer(normed + near, **Z)
        X = X + mixed
        normed, Z = self.norm_2(X, **Z)
        near, Z = self.local_2(normed, **Z)
        mixed, Z = self.mlp(normed + near, **Z)
        return X + mixed, Z
