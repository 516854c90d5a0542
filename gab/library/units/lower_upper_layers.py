"""One kind of layer below, another above."""

from torch import nn


class LowerUpperLayers(nn.Module):
    """One block for the lower layers of a stack, another for the upper ones.

    X (B, T, d_model) -> (B, T, d_model).  The lower ones are `lower_share` of the layers, rounded,
    and of two layers or more at least one is of each kind.  A layer has the parameters of its own
    block alone.

    Source: a lower half that is cheap over time below an upper half of attention, as in YOCO, Sun
    et al. 2024, arXiv 2405.05254 (without its shared cache).
    Cost: that of the block of the layer.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "lower": ("block", "the layers near the embedding"),
        "upper": ("block", "the layers near the head"),
    }
    choices = {"lower_share": (0.25, 0.5, 0.75)}

    def __init__(
        self, d_model, block_loc, *, lower, upper, lower_share: float = 0.5, device=None, dtype=None
    ):
        super().__init__()
        if not 0.0 <= lower_share <= 1.0:
            raise ValueError(f"lower_share is between 0 and 1, not {lower_share!r}")
        index, n_blocks = block_loc
        below = max(1, min(round(lower_share * n_blocks), n_blocks - 1))
        self.lower = lower(d_model) if index < below else None
        self.upper = upper(d_model) if index >= below else None

    def forward(self, X, **Z):
        chosen = self.lower or self.upper
        Y, Z = chosen(X, **Z)
        return Y, Z
