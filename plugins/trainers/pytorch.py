"""Pre-training in a plain PyTorch loop: AdamW, cosine schedule, packed sequences, masked loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.plugins.api import TrainBudget, TrainResult, TrialDiverged
from genesys_engine.plugins.models import context_of, resolve_device
from genesys_engine.plugins.trainers.options import TorchTrainerOptions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesys_engine.plugins.corpus import Batch, Corpus

CURVE_POINTS = 200
READ_LOSS_EVERY = 8  # steps; reading waits for the device
IGNORED = -100  # target of a position without a loss


class TorchTrainer:
    """Trains in fp32 on CPU and in bfloat16 autocast on CUDA.

    AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), decay on matrices only; learning rate
    with linear warm-up and cosine decay over the *tokens* of the budget (Loshchilov & Hutter
    2017, arXiv 1608.03983); every position that is not text of one document is left out of the
    loss and of the count.  The order of the data and torch's generators follow `budget.seed`.
    """

    Options = TorchTrainerOptions

    def __init__(self, options: TorchTrainerOptions | None = None) -> None:
        self.options = options or TorchTrainerOptions()

    def train(
        self, model: nn.Module, corpus: Corpus, budget: TrainBudget, checkpoint: Path
    ) -> TrainResult:
        """Train `model` in place until `budget.tokens` are seen and write `checkpoint`.

        The model's context is read from `model.config.context`.

        Raises:
            TrialDiverged: the loss is not finite or exploded.
            InputError: the corpus is smaller than one batch.
        """
        import torch

        from genesys_engine.plugins.checkpoint import save_checkpoint

        options = self.options
        torch.manual_seed(budget.seed)
        device = resolve_device(options.device)
        model.to(device).train()
        optimizer = make_optimizer(model, options)
        context = context_of(model)
        rows = max(1, budget.batch_tokens // context)
        peak_lr = options.peak_lr or budget.peak_lr
        losses = _Losses(options.explode_factor)
        seen = steps = 0
        for batch in corpus.batches(budget.seed, rows, context):
            if seen >= budget.tokens:
                break
            lr = learning_rate(seen / budget.tokens, peak_lr, options)
            for group in optimizer.param_groups:
                group["lr"] = lr
            loss = self._step(model, optimizer, batch, device)
            seen += batch.real_tokens
            steps += 1
            losses.add(seen, loss)
        losses.read()
        save_checkpoint(model, checkpoint)
        return TrainResult(seen, steps, losses.curve(), checkpoint)

    def _step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, device: torch.device
    ) -> torch.Tensor:
        """Take one optimiser step; return the mean loss over real tokens (nats), on the device."""
        import torch
        import torch.nn.functional as F

        loss = torch.zeros((), device=device)
        for inputs, targets in _micro_batches(batch, self.options.micro_batch, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(inputs)
            part = F.cross_entropy(
                logits.flatten(0, 1).float(),
                targets.flatten(),
                ignore_index=IGNORED,
                reduction="sum",
            )
            part = part / max(1, batch.real_tokens)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), self.options.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss


def make_optimizer(model: nn.Module, options: TorchTrainerOptions) -> torch.optim.Optimizer:
    """Return fused AdamW without decay on norms, biases and other vectors."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=0.0, betas=options.betas, fused=True
    )


def learning_rate(progress: float, peak: float, options: TorchTrainerOptions) -> float:
    """Return the learning rate after the share `progress` (0 to 1) of the token budget."""
    if progress < options.warmup_fraction:
        # Starts at a tenth: at zero the first batch would be counted and teach nothing.
        return peak * max(progress / options.warmup_fraction, 0.1)
    done = (progress - options.warmup_fraction) / (1 - options.warmup_fraction)
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return peak * (options.final_lr_fraction + (1 - options.final_lr_fraction) * cosine)


def _micro_batches(
    batch: Batch, size: int | None, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (inputs, targets) tensors of at most `size` sequences; masked targets are IGNORED."""
    import numpy as np
    import torch

    inputs = torch.from_numpy(np.ascontiguousarray(batch.inputs))
    targets = torch.from_numpy(np.where(batch.mask, batch.targets, IGNORED))
    size = size or len(inputs)
    for start in range(0, len(inputs), size):
        part = slice(start, start + size)
        yield inputs[part].to(device), targets[part].to(device)


@dataclass
class _Losses:
    """Collects losses, ends the trial when they run away, and thins them to a curve."""

    explode_factor: float
    points: list[tuple[int, float]] = field(default_factory=list)
    pending: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    def add(self, tokens: int, loss: torch.Tensor) -> None:
        """Note the loss of a step that ended at `tokens` seen."""
        self.pending.append((tokens, loss))
        if len(self.pending) >= READ_LOSS_EVERY or not self.points:
            self.read()

    def read(self) -> None:
        """Fetch pending losses from the device and check them."""
        for tokens, tensor in self.pending:
            loss = float(tensor)
            if not math.isfinite(loss):
                raise TrialDiverged(f"the training loss is {loss} after {tokens:,} tokens")
            if self.points and not loss <= self.explode_factor * self.points[0][1]:
                raise TrialDiverged(
                    f"the training loss rose from {self.points[0][1]:.3f} to {loss:.3f} nats per "
                    f"token after {tokens:,} tokens"
                )
            self.points.append((tokens, loss))
        self.pending.clear()

    def curve(self) -> tuple[tuple[int, float], ...]:
        """Return at most CURVE_POINTS points, each the mean of the steps since the last one."""
        per_point = -(-len(self.points) // CURVE_POINTS) or 1
        runs = [self.points[i : i + per_point] for i in range(0, len(self.points), per_point)]
        return tuple((run[-1][0], sum(loss for _, loss in run) / len(run)) for run in runs)
