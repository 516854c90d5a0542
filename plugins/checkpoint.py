"""Checkpoints: safetensors files that exist whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.gab.errors import EnvironmentProblem, InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def save_checkpoint(model: nn.Module, path: Path) -> None:
    """Write all parameters and persistent buffers, read them back, and only then name the file.

    Tied weights are stored once.

    Raises:
        EnvironmentProblem: the file on the disk differs from the model.
    """
    from safetensors.torch import save_model

    temporary = path.with_name(path.name + ".partial")
    save_model(model, str(temporary))
    name_when_read_back(temporary, path, model.state_dict())


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into `model`; every tensor of the model must be in the file.

    Raises:
        InputError: a tensor is missing, unknown or has another shape: the file is of another
            model, or of one with another tokenizer.
    """
    from safetensors.torch import load_model

    try:
        load_model(model, str(path), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"the checkpoint does not fit the model: {' '.join(lines[1:3] or lines[:1])}",
            where=path.name,
            hint="take the model and the tokenizer that it was trained with",
        ) from error


def name_when_read_back(temporary: Path, path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Rename a written file to `path`, once it is on the disk and holds `tensors`.

    Raises:
        EnvironmentProblem: it does not.
    """
    import torch
    from safetensors.torch import load_file

    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    for name, stored in load_file(temporary).items():
        if not torch.equal(_bits(stored), _bits(tensors[name].cpu())):
            raise EnvironmentProblem(f"the checkpoint differs in {name!r}", where=str(path))
    temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """View a tensor as bytes, so that NaN equals itself."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
