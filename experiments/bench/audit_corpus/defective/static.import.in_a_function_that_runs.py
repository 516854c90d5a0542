"""Never runs: the guard is not one, since its name is bound to true."""

from torch import nn

TYPE_CHECKING = True
if TYPE_CHECKING:
    import os


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.mix = nn.GRU(embed_dim, embed_dim, batch_first=True, **kw)

    def forward(self, X, **Z):
        return X + self.mix(self.norm(X))[0] * len(os.sep), Z
