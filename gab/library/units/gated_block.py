"""The pre-norm block with a gate on what the sequence mixer adds."""

from torch import nn


class GatedBlock(nn.Module):
    """A residual block in which a gate decides how much of the mixer each position takes.

    X (B, T, d_model) -> (B, T, d_model): n = norm_1(x); x = x + gate(n) * mixer(n);
    x = x + mlp(norm_2(x)).

    Source: a gate on the output of attention, Qiu et al. 2025, arXiv 2505.06708, here
    after the output projection so that any mixer fits.
    Cost: that of its children.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "norm_1": ("norm", "normalises what the sequence mixer and the gate read"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "gate": ("gate", "multiplies what the sequence mixer adds"),
        "norm_2": ("norm", "normalises what the channel mixer reads"),
        "mlp": ("channel_mixer", "transforms every position"),
    }

    def __init__(
        self, d_model, block_loc, *, norm_1, mixer, gate, norm_2, mlp, device=None, dtype=None
    ):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.mixer = mixer(d_model)
        self.gate = gate(d_model)
        self.norm_2 = norm_2(d_model)
        self.mlp = mlp(d_model)

    def forward(self, X, **Z):
        normed, Z = self.norm_1(X, **Z)
        mixed, Z = self.mixer(normed, **Z)
        share, Z = self.gate(normed, **Z)
        X = X + share * mixed
        normed, Z = self.norm_2(X, **Z)
        mixed, Z = self.mlp(normed, **Z)
        return X + mixed, Z
