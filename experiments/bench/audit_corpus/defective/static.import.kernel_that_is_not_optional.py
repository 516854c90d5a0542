"""Never runs: a kernel that the block cannot do without."""

from torch import nn

try:
    from mamba_ssm import selective_scan
except ImportError as error:
    raise RuntimeError("install mamba_ssm") from error


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.mix = nn.GRU(embed_dim, embed_dim, batch_first=True, **kw)

    def forward(self, X, **Z):
        return X + self.mix(selective_scan(self.norm(X)))[0], Z
