"""The processes that train one design together: usually this one alone, or those of torchrun.

Each process takes its rows of every batch, and DDP (Li et al. 2020, arXiv 2006.15704) averages
their gradients: the step is the one that a single process would take, up to rounding.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.corpus import Batch

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Team:
    """`size` processes, of which this is number `rank`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Team:
        """Return the team that this process belongs to."""
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, batch: Batch) -> Batch:
        """Return this process' rows of a batch."""
        if self.size == 1:
            return batch
        count = len(batch.inputs)
        rows = slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)
        return Batch(batch.inputs[rows], batch.targets[rows], batch.mask[rows])

    def share_model(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the module whose backward pass averages the gradients of all."""
        if self.size == 1:
            return model
        import torch
        from torch.nn.parallel import DistributedDataParallel

        mine = [torch.cuda.current_device()] if device.type == "cuda" else None
        return DistributedDataParallel(model, mine)

    def together(self, module: Any, last: bool) -> AbstractContextManager[Any]:
        """Return what holds the averaging back but for the last micro-batch of a step."""
        if self.size == 1 or last:
            return contextlib.nullcontext()
        skip: AbstractContextManager[Any] = module.no_sync()
        return skip

    def total(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(loss)
        return loss
