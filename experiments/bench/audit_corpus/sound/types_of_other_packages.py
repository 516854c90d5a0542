"""Never runs: imports for the type checker alone, in two spellings."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers.cache_utils import Cache
if typing.TYPE_CHECKING:
    import numpy as np
else:
    np = None


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.mix = nn.GRU(embed_dim, embed_dim, batch_first=True, **kw)

    def forward(self, X, cache: Cache | None = None, **Z):
        return X + self.mix(self.norm(X))[0], Z
