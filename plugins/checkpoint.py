"""Checkpoints: safetensors files that exist whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.gab.errors import EnvironmentProblem

if TYPE_CHECKING:
    import torch
    from torch import nn


def save_checkpoint(model: nn.Module, path: Path) -> None:
    """Write all parameters and persistent buffers, read them back, and only then name the file.

    Tied weights are stored once.

    Raises:
        EnvironmentProblem: what is on the disk is not what the model holds.
    """
    import torch
    from safetensors.torch import load_file, save_model

    temporary = path.with_name(path.name + ".partial")
    save_model(model, str(temporary))
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    state = model.state_dict()
    for name, stored in load_file(temporary).items():
        if not torch.equal(_bits(stored), _bits(state[name].cpu())):
            raise EnvironmentProblem(f"the checkpoint differs in {name!r}", where=str(path))
    temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into `model`; every tensor of the model must be in the file.

    Raises:
        RuntimeError: a tensor is missing, unknown or has another shape.
    """
    from safetensors.torch import load_model

    load_model(model, str(path), strict=True)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """View a tensor as bytes, so that NaN equals itself."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
