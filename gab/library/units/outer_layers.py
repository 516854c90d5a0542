"""Another kind of layer at the ends of a stack."""

from torch import nn


class OuterLayers(nn.Module):
    """One block for the first and the last layer, another for all between.

    X (B, T, d_model) -> (B, T, d_model).  `ends` says which layers are the outer ones: "both",
    the "first" alone or the "last" alone.  A layer has the parameters of its own block alone.

    Source: a first layer of another kind, as in DeepSeekMoE, Dai et al. 2024, arXiv 2401.06066.
    Cost: that of the block of the layer.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "inner": ("block", "the layers between the ends, nearly all"),
        "outer": ("block", "the layers at the ends"),
    }
    choices = {"ends": ("both", "first", "last")}

    def __init__(
        self, d_model, block_loc, *, inner, outer, ends: str = "both", device=None, dtype=None
    ):
        super().__init__()
        if ends not in ("both", "first", "last"):
            raise ValueError(f"ends is both, first or last, not {ends!r}")
        index, n_blocks = block_loc
        first, last = index == 0 and ends != "last", index == n_blocks - 1 and ends != "first"
        self.inner = None if first or last else inner(d_model)
        self.outer = outer(d_model) if first or last else None

    def forward(self, X, **Z):
        chosen = self.inner or self.outer
        Y, Z = chosen(X, **Z)
        return Y, Z
