"""The parts of `transformers` used by the trainer `hf`; imported by workers only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from genesys_engine.plugins.trainers.stepping import IGNORED

if TYPE_CHECKING:
    from genesys_engine.plugins.trainers.hf_feed import Feed
    from genesys_engine.plugins.trainers.losses import Losses


class _Batches(IterableDataset[Any]):
    """Whole batches, ready made."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __len__(self) -> int:
        """Return the number of batches, for the trainer's planning."""
        return self._feed.steps

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield them in order."""
        return iter(self._feed)


class _Wrapped(nn.Module):
    """The model without its `config`, which the library would take for one of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.model(tokens)
        return logits


class _Rate(LRScheduler):
    """The learning rates of a step, which follow the tokens and not the steps."""

    def __init__(self, optimizer: torch.optim.Optimizer, share: Callable[[int], float]) -> None:
        self._share = share
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of every group."""
        share = self._share(self.last_epoch)
        return [group["peak_lr"] * share for group in self.optimizer.param_groups]


class _OurTrainer(Trainer):  # type: ignore[misc]  # the library has no types
    """Feeds our batches and takes our loss; all else is the library's."""

    def __init__(self, *, feed: Feed, losses: Losses, **given: Any) -> None:
        super().__init__(**given)
        self._feed = feed
        self._losses = losses
        self._seen = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches as they are: a batch of ours is one item."""
        return DataLoader(_Batches(self._feed), batch_size=None)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, torch.Tensor], *_: Any, **__: Any
    ) -> torch.Tensor:
        """Return the mean loss (nats) over real tokens, and note it."""
        logits = model(inputs["tokens"])
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(), inputs["labels"].flatten(), ignore_index=IGNORED
        )
        self._seen += 1
        self._losses.add(self._feed.tokens_before(self._seen), loss.detach())
        return loss


def make_trainer(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    feed: Feed,
    share: Callable[[int], float],
    losses: Losses,
    folder: Path,
    device: torch.device,
    seed: int,
    grad_clip: float,
) -> Trainer:
    """Return a trainer that saves, logs and evaluates nothing of its own."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=feed.steps,
        max_grad_norm=grad_clip,
        per_device_train_batch_size=1,
        bf16=device.type == "cuda",
        use_cpu=device.type == "cpu",
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = _OurTrainer(
        model=_Wrapped(model),
        args=arguments,
        optimizers=(optimizer, _Rate(optimizer, share)),
        feed=feed,
        losses=losses,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer
