"""The jobs that isolated workers are sent, one record for each entry point in `plugins/*_job.py`.

`to_json` of `common.records` gives what a worker reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genesys_engine.engine.common.options import PluginOptions
from genesys_engine.engine.common.records import sparse, to_json
from genesys_engine.gab.scales import ModelConfig


@dataclass(frozen=True)
class ComponentSpec:
    """A component as a worker builds it; `name` is what an experiment calls it."""

    target: str
    options: PluginOptions
    name: str = sparse("")


@dataclass(frozen=True)
class CheckJob:
    """Check a composed design; a new one must fit all the scales."""

    source: str
    scales: Sequence[str]
    vocab_size: int
    seed: int
    checkers: tuple[ComponentSpec, ...] = sparse(())


@dataclass(frozen=True)
class Budget:
    """What one training may spend; see `plugins.api.TrainBudget`."""

    tokens: int
    batch_tokens: int
    peak_lr: float
    lr_scale: float = 1.0


@dataclass(frozen=True)
class TrainJob:
    """Train a design: it is given nothing of what the design is scored with."""

    source: str
    model: ModelConfig
    corpus: str
    seed: int
    budget: Budget
    trainer: ComponentSpec

    @property
    def device(self) -> str:
        """The device that the trainer's options ask for."""
        return str(self.trainer.options.get("device", "auto"))

    @property
    def processes(self) -> int:
        """How many processes train together, a device for each."""
        return int(self.trainer.options.get("processes", 1))

    @property
    def micro_batch(self) -> int | None:
        """How many sequences the trainer's options put into a forward pass; None: its default."""
        asked = self.trainer.options.get("micro_batch")
        return asked if isinstance(asked, int) else None  # another trainer may mean anything by it


@dataclass(frozen=True)
class PaceJob:
    """Measure how fast a design trains at a scale, to which the worker fits it."""

    training: TrainJob
    scale: str
    vocab_size: int

    def to_json(self) -> dict[str, object]:
        """Return the job as a worker reads it."""
        return {**to_json(self.training), "scale": self.scale, "vocab_size": self.vocab_size}


@dataclass(frozen=True)
class EvaluateJob:
    """Score the weights in the file `checkpoint`.

    Without a file it will fail; only an executor that answers from a record needs none.
    """

    source: str
    model: ModelConfig
    seed: int
    corpus: str
    evaluators: tuple[ComponentSpec, ...]
    device: str
    batch_tokens: int
    micro_batch: int | None
    checkpoint: str | None


@dataclass(frozen=True)
class VerifyJob:
    """A whole verification: a training, and how its weights are scored then."""

    training: TrainJob
    evaluators: tuple[ComponentSpec, ...]

    def evaluation(self, weights: Path | None) -> EvaluateJob:
        """Return the second half, of the weights in a file."""
        trained = self.training
        return EvaluateJob(
            source=trained.source,
            model=trained.model,
            seed=trained.seed,
            corpus=trained.corpus,
            evaluators=self.evaluators,
            device=trained.device,
            batch_tokens=trained.budget.batch_tokens,
            micro_batch=trained.micro_batch,
            checkpoint=None if weights is None else str(weights.absolute()),
        )

    def with_budget(self, tokens: int, batch_tokens: int) -> VerifyJob:
        """Return the same verification with another budget."""
        budget = replace(self.training.budget, tokens=tokens, batch_tokens=batch_tokens)
        return replace(self, training=replace(self.training, budget=budget))

    def to_json(self) -> dict[str, object]:
        """Return the job as plugins see it, and as it is known by in the cache."""
        return {
            **to_json(self.training),
            "evaluators": [to_json(each) for each in self.evaluators],
        }


@dataclass(frozen=True)
class Trial:
    """Which verification a job is of, as plugins see it."""

    design: int
    digest: str
    rung: int
    scale: str
    replicate: int


@dataclass(frozen=True)
class ConfirmJob:
    """Ask a trained model about a larger sample of held-out texts."""

    source: str
    model: ModelConfig
    seed: int
    device: str
    corpus: str
    checkpoint: str
    texts: int


@dataclass(frozen=True)
class ControlsJob:
    """Score the bigram control at a context."""

    corpus: str
    context: int
    evaluators: tuple[ComponentSpec, ...]
