"""A small byte-level model that is trained for a few steps, on what it is given.

It gets inputs, and targets of training text alone; what a loss is worth is judged from the
logits that it gives back (`training`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesys_engine.gab.model import LanguageModel, start_generators
from genesys_engine.gab.scales import ModelConfig

_RATE = 3e-3


def new_model(block_class: Any, config: ModelConfig, seed: int) -> nn.Module:
    """Return an untrained model in eval mode."""
    return LanguageModel(block_class, config, seed=seed).eval()


def logits_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the logits (rows, time, vocabulary) of tokens (rows, time)."""
    with torch.no_grad():
        logits: Tensor = model(tokens)
    return logits


def take_steps(model: nn.Module, inputs: Tensor, targets: Tensor, seed: int) -> Tensor:
    """Take a step for each batch (steps, rows, time); return the logits before each.

    The model is in eval mode afterwards.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    fused = not any(p.is_complex() for p in weights)  # PyTorch has no fused step for them
    optimizer = torch.optim.AdamW(weights, lr=_RATE, betas=(0.9, 0.95), fused=fused)
    model.train()
    start_generators(seed)
    seen = []
    for tokens, following in zip(inputs, targets, strict=True):
        logits = model(tokens)
        loss = functional.cross_entropy(logits.flatten(0, 1), following.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen.append(logits.detach())
    model.eval()
    return torch.stack(seen)
