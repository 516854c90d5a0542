"""Two kinds of layer in a repeated order."""

from torch import nn


class LayerPattern(nn.Module):
    """One of two blocks, by the layer's place in a repeated pattern.

    X (B, T, d_model) -> (B, T, d_model): layer i is the block that letter i mod len(pattern) of
    `pattern` names, so "aab" stacks a, a, b, a, a, b.  A layer has the parameters of its own block
    alone.  At least one of each letter, at most six.  At every scale a stack repeats the pattern
    in full.

    Source: attention in every k-th layer among recurrent ones, as in Jamba, Lieber et al. 2024,
    arXiv 2403.19887.
    Cost: that of the block of the layer.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "a": ("block", "the layers at the letter a: the first, and most of them"),
        "b": ("block", "the layers at the letter b: another way of mixing"),
    }
    choices = {
        "pattern": ("ab", "aab", "aba", "abb", "aaab", "aabb", "abbb", "aaaab", "aaaaab"),
    }

    def __init__(self, d_model, block_loc, *, a, b, pattern: str = "aab", device=None, dtype=None):
        super().__init__()
        if set(pattern) != {"a", "b"} or len(pattern) > 6:
            raise ValueError(f"pattern takes up to six letters a and b, both, not {pattern!r}")
        letter = pattern[block_loc[0] % len(pattern)]
        self.a = a(d_model) if letter == "a" else None
        self.b = b(d_model) if letter == "b" else None

    def forward(self, X, **Z):
        chosen = self.a or self.b
        Y, Z = chosen(X, **Z)
        return Y, Z
