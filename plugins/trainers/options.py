"""Options of the built-in trainers; imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesys_engine.plugins.api import Options


class TorchTrainerOptions(Options):
    """How the plain PyTorch loop trains."""

    weight_decay: float = Field(0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_fraction: float = Field(0.02, ge=0, lt=1)
    """Share of the tokens over which the learning rate rises."""
    final_lr_fraction: float = Field(0.1, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""
    peak_lr: float | None = Field(None, gt=0)
    """Overrides the peak learning rate of the scale."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest global norm of the gradient."""
    micro_batch: int | None = Field(None, ge=1)
    """Sequences per forward pass; None puts the whole batch into one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    explode_factor: float = Field(2.0, gt=1)
    """A loss above this multiple of the first one ends the trial."""
