"""The recipe of the built-in trainers: the optimiser, its peak rates, and their schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.trainers.options import TrainerOptions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesys_engine.plugins.api import TrainBudget


def make_optimizer(
    model: nn.Module, budget: TrainBudget, options: TrainerOptions
) -> torch.optim.Optimizer:
    """Return the optimiser of `options`; each of its groups knows its `peak_lr`.

    Weights decay where they are matrices or tables, and never where they are gains, biases or
    other vectors.
    """
    if options.optimizer == "adamw":
        return _adamw(model, options.peak_lr or budget.peak_lr, options)
    return _muon(model, budget.lr_scale, options)


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set the learning rate of every group to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share


def rate_share(progress: float, options: TrainerOptions) -> float:
    """Return the share of the peak rates after the share `progress` (0 to 1) of the token budget.

    Linear warm-up, then cosine decay (Loshchilov & Hutter 2017, arXiv 1608.03983).
    """
    if progress < options.warmup_fraction:
        # Starts at a tenth: at zero the first batch would be counted and teach nothing.
        return max(progress / options.warmup_fraction, 0.1)
    done = (progress - options.warmup_fraction) / (1 - options.warmup_fraction)
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return options.final_lr_fraction + (1 - options.final_lr_fraction) * cosine


def _adamw(model: nn.Module, peak: float, options: TrainerOptions) -> torch.optim.Optimizer:
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        _group([p for p in trained if p.ndim > 1], peak, options.weight_decay),
        _group([p for p in trained if p.ndim <= 1], peak, 0.0),
    ]
    fused = not any(p.is_complex() for p in trained)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=0.0, betas=options.betas, fused=fused
    )


def _muon(model: nn.Module, lr_scale: float, options: TrainerOptions) -> torch.optim.Optimizer:
    from genesys_engine.plugins.trainers.muon import MuonAdamW
    from genesys_engine.plugins.trainers.roles import roles_of

    roles = roles_of(model)
    decay, betas = options.weight_decay, {"betas": options.betas}
    groups = [
        _group([p for p, _ in roles.matrices], options.matrix_lr * lr_scale, decay)
        | {"shapes": [shape for _, shape in roles.matrices]},
        _group(roles.tables, options.table_lr * lr_scale, decay) | betas,
        _group(roles.vectors, options.vector_lr * lr_scale, 0.0) | betas,
    ]
    return MuonAdamW([group for group in groups if group["params"]], momentum=options.momentum)


def _group(params: Any, peak: float, decay: float) -> dict[str, Any]:
    return {"params": list(params), "lr": 0.0, "peak_lr": peak, "weight_decay": decay}
