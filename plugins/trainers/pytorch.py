"""Pre-training in a plain PyTorch loop: packed sequences, masked loss, any recipe."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.plugins.api import TrainBudget, TrainResult, TrialDiverged
from genesys_engine.plugins.models import context_of, resolve_device
from genesys_engine.plugins.trainers.live_curve import LiveCurve
from genesys_engine.plugins.trainers.losses import Losses
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pace import Pace
from genesys_engine.plugins.trainers.recipe import make_optimizer, rate_share
from genesys_engine.plugins.trainers.session import TRAINING, Progress, TrainingCheckpoint
from genesys_engine.plugins.trainers.stepping import Stepper
from genesys_engine.plugins.trainers.team import Team

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesys_engine.plugins.corpus import Corpus

RESUMABLE_OPTIONS = {"checkpoint_every_s", "slowest_ratio", "stall_tokens", "explode_factor"}
"""Options that change nothing of the weights: a trial may continue others."""


class TorchTrainer:
    """Trains in fp32 on CPU and in bfloat16 autocast on CUDA.

    The optimiser and its rates are those of `recipe`, over the *tokens* of the budget; every
    position that is not text of one document is left out of the loss and of the count.  The order
    of the data and torch's generators follow `budget.seed`.
    """

    Options = TorchTrainerOptions

    def __init__(self, options: TorchTrainerOptions | None = None) -> None:
        self.options = options or TorchTrainerOptions()

    def train(
        self, model: nn.Module, corpus: Corpus, budget: TrainBudget, checkpoint: Path
    ) -> TrainResult:
        """Train `model` in place until `budget.tokens` are seen and write `checkpoint`.

        The model's context is read from `model.config.context`.  A training checkpoint that an
        earlier attempt at the same trial left next to `checkpoint` is resumed.

        Raises:
            TrialDiverged: the loss is not finite, exploded or stalled, or it is too slow.
            InputError: the corpus is smaller than one batch, or CUDA is asked for and absent.
            MemoryError: not even one sequence fits.
        """
        import torch

        from genesys_engine.plugins.checkpoint import save_checkpoint

        options = self.options
        torch.manual_seed(budget.seed)
        device = resolve_device(options.device)
        model.to(device).train()
        optimizer = make_optimizer(model, budget, options)
        team = Team.here()
        kept = self._training_checkpoint(model, corpus, budget, checkpoint, team)
        progress, unused = kept.load(model, optimizer)
        live = LiveCurve(checkpoint.parent) if team.rank == 0 else None
        losses = Losses(options.explode_factor, options.stall_tokens, progress.points, live)
        try:
            facts = self._run(model, optimizer, corpus, budget, progress, losses, kept, team)
        except TrialDiverged:
            losses.tell()
            kept.remove()
            raise
        if team.rank == 0:
            save_checkpoint(model, checkpoint)
        kept.remove()
        if unused:
            facts["training_checkpoint"] = unused
        return TrainResult(progress.tokens, progress.steps, losses.curve(), checkpoint, facts)

    def _run(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        corpus: Corpus,
        budget: TrainBudget,
        progress: Progress,
        losses: Losses,
        kept: TrainingCheckpoint,
        team: Team,
    ) -> dict[str, float | int | str]:
        """Train from `progress` to the end of the budget, moving it along; return the facts."""
        options = self.options
        context = context_of(model)
        rows = max(team.size, budget.batch_tokens // context)
        device = resolve_device(options.device)
        facts: dict[str, float | int | str] = {
            "resumed_at_step": progress.steps,
            "resumed_at_tokens": progress.tokens,
        }
        adapted = options.model_copy(update=progress.memory_fallbacks)
        with Stepper(model, optimizer, adapted, device, team) as stepper:
            pace = Pace(model, budget, stepper, options, device, team)
            for batch in corpus.batches(budget.seed, rows, context, progress.steps):
                if progress.tokens >= budget.tokens:
                    break
                share = rate_share(progress.tokens / budget.tokens, options)
                loss = stepper.step(batch, share)
                progress.tokens += batch.real_tokens
                progress.steps += 1
                losses.add(progress.tokens, loss)
                pace.check(batch)
                if kept.is_due:
                    losses.read()
                    progress.memory_fallbacks.update(stepper.memory_fallbacks)
                    kept.save(model, optimizer, progress)
            losses.read()
            facts.update(stepper.facts)
        return {**facts, "micro_batch": min(int(facts["micro_batch"]) or rows, rows)}

    def _training_checkpoint(
        self, model: nn.Module, corpus: Corpus, budget: TrainBudget, checkpoint: Path, team: Team
    ) -> TrainingCheckpoint:
        """Return the keeper of the trial's state; several processes together have none."""
        identity = {
            "options": self.options.model_dump(mode="json", exclude=RESUMABLE_OPTIONS),
            "budget": asdict(budget),
            "corpus": getattr(corpus, "digest", ""),
            "shapes": {name: list(p.shape) for name, p in model.state_dict().items()},
        }
        every_s = 0.0 if team.size > 1 else self.options.checkpoint_every_s
        return TrainingCheckpoint(checkpoint.with_name(TRAINING), identity, every_s)
