"""How far two tensors are apart, and where random numbers begin."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the largest value; NaN where there is one."""
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    size = torch.maximum(one.abs().max(), other.abs().max()).clamp_min(1e-300)
    return float((one - other).abs().max() / size)


def worst(values: Iterable[float]) -> float:
    """Return the largest, with NaN as infinity, so that it cannot hide."""
    return max((v if v == v else float("inf") for v in values), default=0.0)


def start_generator(seed: int) -> None:
    """Start the CPU's global generator at `seed`.

    `torch.manual_seed` also notes the seed, with the stack of its caller, for every kind of
    accelerator that may come: a millisecond a call, and a check makes a hundred.
    """
    torch.default_generator.manual_seed(seed)
