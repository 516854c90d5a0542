"""The batches of a trial, as the library takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.models import context_of
from genesys_engine.plugins.trainers.stepping import IGNORED

if TYPE_CHECKING:
    from torch import nn

    from genesys_engine.plugins.corpus import Batch, Corpus


class Feed:
    """The batches of a trial, and how many real tokens come before each."""

    def __init__(self, model: nn.Module, corpus: Corpus, budget: TrainBudget) -> None:
        self._corpus = corpus
        self._budget = budget
        self._context = context_of(model)
        self._rows = max(1, budget.batch_tokens // self._context)
        self._before = [0]
        for batch in self._batches():
            if self._before[-1] >= budget.tokens:
                break
            self._before.append(self._before[-1] + batch.real_tokens)

    @property
    def steps(self) -> int:
        """How many batches there are."""
        return len(self._before) - 1

    def tokens_before(self, step: int) -> int:
        """Return the real tokens of all batches before this one."""
        return self._before[min(step, self.steps)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every batch as the model and the loss take it."""
        import numpy as np
        import torch

        for _, batch in zip(range(self.steps), self._batches(), strict=False):
            yield {
                "tokens": torch.from_numpy(np.ascontiguousarray(batch.inputs)),
                "labels": torch.from_numpy(np.where(batch.mask, batch.targets, IGNORED)),
            }

    def _batches(self) -> Iterator[Batch]:
        return self._corpus.batches(self._budget.seed, self._rows, self._context)
