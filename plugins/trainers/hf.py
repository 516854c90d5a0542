"""Pre-training by `transformers.Trainer`: the same data, budget and schedule, another loop.

It exists to show that trainers are interchangeable, and for those who know its options.  What it
is given is what `torch` trains with: the batches of the corpus in their order, the same
recipe, its rates by tokens, the loss over real tokens.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.plugins.api import TrainBudget, TrainResult, TrialDiverged
from genesys_engine.plugins.models import resolve_device
from genesys_engine.plugins.trainers.hf_feed import Feed
from genesys_engine.plugins.trainers.live_curve import LiveCurve
from genesys_engine.plugins.trainers.losses import Losses
from genesys_engine.plugins.trainers.options import TrainerOptions
from genesys_engine.plugins.trainers.recipe import make_optimizer, rate_share

if TYPE_CHECKING:
    from torch import nn

    from genesys_engine.plugins.corpus import Corpus


class HfTrainer:
    """Trains in fp32 on CPU and in bfloat16 autocast on CUDA, as `torch` does."""

    Options = TrainerOptions
    preload = ("genesys_engine.plugins.trainers.hf_parts",)

    def __init__(self, options: TrainerOptions | None = None) -> None:
        self.options = options or TrainerOptions()

    def train(
        self, model: nn.Module, corpus: Corpus, budget: TrainBudget, checkpoint: Path
    ) -> TrainResult:
        """Train `model` in place until `budget.tokens` are seen and write `checkpoint`.

        Raises:
            TrialDiverged: the loss is not finite or exploded.
            InputError: the corpus is smaller than one batch, or CUDA is asked for and absent.
        """
        import torch

        from genesys_engine.plugins.checkpoint import save_checkpoint
        from genesys_engine.plugins.trainers.hf_parts import make_trainer

        options = self.options
        torch.manual_seed(budget.seed)
        device = resolve_device(options.device)
        model.to(device).train()
        optimizer = make_optimizer(model, budget, options)
        feed = Feed(model, corpus, budget)
        losses = Losses(options.explode_factor, live=LiveCurve(checkpoint.parent))

        def share(step: int) -> float:
            return rate_share(feed.tokens_before(step) / budget.tokens, options)

        # Its own files (none are asked for) must not lie next to the checkpoint.
        with tempfile.TemporaryDirectory(dir=checkpoint.parent, prefix=".hf-") as folder:
            trainer = make_trainer(
                model, optimizer, feed, share, losses, Path(folder), device, budget.seed,
                options.grad_clip,
            )  # fmt: skip
            try:
                trainer.train()
                losses.read()
            except TrialDiverged:
                losses.tell()
                raise
        save_checkpoint(model, checkpoint)
        tokens = feed.tokens_before(feed.steps)
        return TrainResult(tokens, feed.steps, losses.curve(), checkpoint)
