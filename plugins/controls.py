"""The bigram control: a table of neighbouring tokens, scored like a model.

Imports torch: workers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from genesys_engine.plugins.corpus import Corpus


@dataclass(frozen=True)
class ControlConfig:
    """The part of a model's configuration that evaluators read."""

    context: int
    vocab_size: int


class BigramModel(nn.Module):
    """Interpolated bigram model with Witten-Bell weights (Witten & Bell 1991, method C).

    p(w|v) = (c(v, w) + t(v) p(w)) / (c(v) + t(v)), with t(v) the number of distinct successors
    of v, and p(w) the add-one unigram of the training documents.  Nothing is tuned.  Counts are
    kept sparse (rows of v), so that a large vocabulary costs what its pairs cost.
    """

    counts: torch.Tensor
    successors: torch.Tensor
    row_start: torch.Tensor
    unigram: torch.Tensor
    backoff: torch.Tensor
    row_total: torch.Tensor

    def __init__(self, corpus: Corpus, context: int) -> None:
        super().__init__()
        self.config = ControlConfig(context, corpus.vocab_size)
        with np.load(corpus.folder / "bigram.npz") as table:
            first, second = table["first"].astype(np.int64), table["second"].astype(np.int64)
            count = table["count"].astype(np.float64)
        size = corpus.vocab_size
        distinct = np.bincount(first, minlength=size)
        totals = np.bincount(first, weights=count, minlength=size)
        unigram = np.bincount(second, weights=count, minlength=size) + 1.0
        # A token never seen as a first one leaves the unigram alone.
        weight = np.where(distinct > 0, distinct, 1).astype(np.float64)
        self.register_buffer("counts", torch.from_numpy(count))
        self.register_buffer("successors", torch.from_numpy(second))
        self.register_buffer(
            "row_start", torch.from_numpy(np.concatenate([[0], np.cumsum(distinct)]))
        )
        self.register_buffer("unigram", torch.from_numpy(unigram / unigram.sum()))
        self.register_buffer("backoff", torch.from_numpy(weight))
        self.register_buffer("row_total", torch.from_numpy(totals + weight))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return log p(next | token): tokens (B, T) -> logits (B, T, vocab_size), normalised."""
        flat, place = torch.unique(tokens, return_inverse=True)
        rows = self.backoff[flat, None] * self.unigram
        length = self.row_start[flat + 1] - self.row_start[flat]
        row = torch.repeat_interleave(torch.arange(len(flat), device=tokens.device), length)
        shift = torch.repeat_interleave(self.row_start[flat] - (length.cumsum(0) - length), length)
        entry = torch.arange(len(row), device=tokens.device) + shift
        rows[row, self.successors[entry]] += self.counts[entry]
        return (rows / self.row_total[flat, None]).log().float()[place]

    def generate(self, tokens: torch.Tensor, max_new_tokens: int, **_: object) -> torch.Tensor:
        """Append the most likely tokens: (B, T) -> (B, T + max_new_tokens)."""
        for _step in range(max_new_tokens):
            following = self(tokens[:, -1:]).argmax(-1)
            tokens = torch.cat([tokens, following], dim=1)
        return tokens
