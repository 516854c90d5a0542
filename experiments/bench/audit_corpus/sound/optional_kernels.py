"""Never runs: fast kernels that are used where they are installed."""

import torch
from torch import nn

try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None

try:
    import triton

    HAS_TRITON = triton is not None
except Exception:
    HAS_TRITON = False


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, **kw)
        self.out = nn.Linear(embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        q, k, v = (t[:, None] for t in self.qkv(self.norm(X)).chunk(3, -1))
        if flash_attn_func is not None and HAS_TRITON:
            Y = flash_attn_func(q, k, v, causal=True)
        else:
            Y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return X + self.out(Y[:, 0]), Z
