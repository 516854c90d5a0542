"""The interface of models for trainers and evaluators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from genesys_engine.gab.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def build_model(payload: Mapping[str, Any], device: str) -> nn.Module:
    """Return the untrained language model around the composed block of a job.

    Args:
        payload: `source`, `model` (d_model, n_blocks, vocab_size, context) and `seed`.
        device: its name; see `resolve_device`.
    """
    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.gab.scales import ModelConfig

    block, config = load_block(payload["source"]), ModelConfig(**payload["model"])
    return LanguageModel(block, config, seed=payload["seed"]).to(resolve_device(device))


def context_of(model: nn.Module) -> int:
    """Return the context length (tokens) that the model was configured for."""
    return int(cast(Any, model).config.context)


def vocabulary_of(model: nn.Module) -> int:
    """Return the number of tokens that the model tells apart."""
    return int(cast(Any, model).config.vocab_size)


def device_of(model: nn.Module) -> torch.device:
    """Return the device that holds the model's parameters and buffers."""
    return cast("torch.device", next(iter(model.state_dict().values())).device)


def resolve_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is CUDA if available.

    Raises:
        InputError: CUDA is requested, and PyTorch finds none.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "CUDA is asked for, and PyTorch finds no device",
            where="[trainer] device",
            hint='set device = "auto" or "cpu", or install a PyTorch with CUDA, and its driver',
        )
    return torch.device(name)
