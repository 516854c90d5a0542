"""A block to begin with, for `genesys-engine check --template`."""

TEMPLATE = '''"""A block for genesys-engine: check it with `genesys-engine check my_block.py`."""

import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """One layer of a language model: X of shape (batch, time, embed_dim) in and out.

    `block_loc` is (index of this layer, number of layers).  Hand `device` and `dtype` on to every
    layer and parameter.  The output at a position may depend on earlier positions only.
    """

    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.heads = max(1, embed_dim // 32)  # the width is any multiple of 16
        self.norm1 = nn.RMSNorm(embed_dim, **kw)
        self.norm2 = nn.RMSNorm(embed_dim, **kw)
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=False, **kw)
        self.out = nn.Linear(embed_dim, embed_dim, bias=False, **kw)
        self.up = nn.Linear(embed_dim, 4 * embed_dim, **kw)
        self.down = nn.Linear(4 * embed_dim, embed_dim, **kw)

    def mix(self, X):
        B, T, D = X.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(X).chunk(3, -1))
        Y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(Y.transpose(1, 2).reshape(B, T, D))

    def forward(self, X, **Z):
        # Z carries values from one layer to the next, such as {"first_value": V}.
        X = X + self.mix(self.norm1(X))
        X = X + self.down(F.gelu(self.up(self.norm2(X))))
        return X, Z
'''
