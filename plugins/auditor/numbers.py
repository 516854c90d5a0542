"""How far two tensors are apart, and where random numbers begin."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from genesys_engine.plugins.sandbox.subject import SubjectRaised


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the largest value; NaN where there is one."""
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    size = torch.maximum(one.abs().max(), other.abs().max())
    # In fp64: the smallest of its numbers is no zero there, as it would be in fp32.
    return float((one - other).abs().max().double() / size.double().clamp_min(1e-300))


# Runs of equal inputs: the same operations in the same order, but for the batch's kernels.
EQUAL = 1e-9
# Up to here a change may be the rounding of a part that computes in fp32 or bf16.
ROUNDING = 1e-2
# The size of fp32's own, after some steps.
FP32 = 1e-5


def settled(ask: Callable[[bool], float], tolerance: float) -> float:
    """Return the change that `ask(wide)` measures, as it is without the rounding of fp32.

    Asked again in fp64 (`wide`) where it is beyond `tolerance` and may be rounding; where the
    block cannot be run so, what is of fp32's size is taken for it.
    """
    change = ask(False)
    if not tolerance < change <= ROUNDING:
        return change
    try:
        return ask(True)
    except SubjectRaised:
        return 0.0 if change <= FP32 else change


def worst(values: Iterable[float]) -> float:
    """Return the largest, with NaN as infinity, so that it cannot hide."""
    return max((v if v == v else float("inf") for v in values), default=0.0)


def fan_in(shape: tuple[int, ...]) -> int:
    """Return how many inputs each output of a parameter sums; 4 for vectors."""
    return math.prod(shape) // max(1, shape[0]) if len(shape) > 1 else 4


def derived(seed: int, purpose: int | str) -> int:
    """Return a seed for one purpose, from which no other one's can be reckoned."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:7], "big")
