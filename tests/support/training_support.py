"""Small real models and a block's source for the tests of training and evaluation."""

import math
from types import SimpleNamespace

import torch
from torch import nn

CONTEXT = 64

BLOCK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.mix = nn.Conv1d(embed_dim, embed_dim, 3, groups=embed_dim, **kw)
        self.up = nn.Linear(embed_dim, 2 * embed_dim, **kw)
        self.down = nn.Linear(2 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        H = nn.functional.pad(self.norm(X).transpose(1, 2), (2, 0))
        return X + self.down(torch.relu(self.up(self.mix(H).transpose(1, 2)))), Z
"""


class TinyModel(nn.Module):
    """Embedding, a causal convolution and a tied head: enough to learn pairs of tokens."""

    def __init__(self, vocab_size, width=32, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.config = SimpleNamespace(context=CONTEXT, vocab_size=vocab_size)
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=math.sqrt(2 / (5 * width)))
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, width, 2)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        X = self.embedding(tokens)
        H = nn.functional.pad(self.norm(X).transpose(1, 2), (1, 0))
        return self.head(self.norm(X + self.mix(H).transpose(1, 2)))
