"""Options of the built-in trainers; imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesys_engine.plugins.api import Options


class TorchTrainerOptions(Options):
    """How the plain PyTorch loop trains."""

    weight_decay: float = Field(0.1, ge=0, description="AdamW's, on matrices only")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's decay rates")
    warmup_fraction: float = Field(
        0.02, ge=0, lt=1, description="share of the tokens over which the learning rate rises"
    )
    final_lr_fraction: float = Field(
        0.1, ge=0, le=1, description="learning rate at the end, as a share of the peak"
    )
    peak_lr: float | None = Field(
        None, gt=0, description="peak learning rate at every rung; left out: the rung's"
    )
    grad_clip: float = Field(1.0, gt=0, description="largest global norm of the gradient")
    micro_batch: int | None = Field(
        None, ge=1, description="sequences per forward pass; left out: the whole batch at once"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a CUDA device if there is one"
    )
    explode_factor: float = Field(
        2.0, gt=1, description="a loss above this multiple of the first one ends the trial"
    )
