"""Three kinds of layer in a repeated order."""

from torch import nn


class LayerPatternOfThree(nn.Module):
    """One of three blocks, by the layer's place in a repeated pattern.

    X (B, T, d_model) -> (B, T, d_model): layer i is the block that letter i mod len(pattern) of
    `pattern` names.  A layer has the parameters of its own block alone.  At least one of each
    letter, at most six.  At every scale a stack repeats the pattern in full.

    Source: recurrent layers, MLPs and attention with a window in turn, as in Samba, Ren et al.
    2024, arXiv 2406.07522.
    Cost: that of the block of the layer.
    """

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {
        "a": ("block", "the layers at the letter a, the first among them"),
        "b": ("block", "the layers at the letter b"),
        "c": ("block", "the layers at the letter c"),
    }
    choices = {"pattern": ("abc", "aabc", "abac", "abcb", "aabbc", "aabbcc", "abacab")}

    def __init__(
        self, d_model, block_loc, *, a, b, c, pattern: str = "abc", device=None, dtype=None
    ):
        super().__init__()
        if set(pattern) != {"a", "b", "c"} or len(pattern) > 6:
            raise ValueError(f"pattern takes up to six letters a, b and c, all, not {pattern!r}")
        letter = pattern[block_loc[0] % len(pattern)]
        self.a = a(d_model) if letter == "a" else None
        self.b = b(d_model) if letter == "b" else None
        self.c = c(d_model) if letter == "c" else None

    def forward(self, X, **Z):
        chosen = self.a or self.b or self.c
        Y, Z = chosen(X, **Z)
        return Y, Z
