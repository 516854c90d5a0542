"""A block in other precisions than the probes': under autocast, brought to fp64, and where NaN
comes from in its gradient."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.model import start_generators
from genesys_engine.gab.raised import describe


def under_autocast(source: SourceMap, block: nn.Module, X: Tensor) -> Tensor:
    """Run forward and backward under autocast; without oneDNN where that has no kernel here.

    oneDNN's bfloat16 kernels depend on the processor; PyTorch's own ones do not.
    """
    try:
        return _backward_under_autocast(block, X)
    except RuntimeError as error:
        if not source.lacking_here(describe(error)):
            raise
    X.grad = None
    with torch.backends.mkldnn.flags(enabled=False):
        return _backward_under_autocast(block, X)


def _backward_under_autocast(block: nn.Module, X: Tensor) -> Tensor:
    start_generators(0)
    with torch.autocast("cpu", torch.bfloat16):
        Y: Tensor = block(X)[0]
    Y.float().square().mean().backward()  # type: ignore[no-untyped-call]
    return Y


def to_double(model: nn.Module) -> None:
    """Bring a model to fp64 in place; `nn.Module.double` leaves complex numbers as they are."""

    def widen(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(torch.complex128)
        return tensor.double() if tensor.is_floating_point() else tensor

    model._apply(widen)  # type: ignore[no-untyped-call]


def origin_of_nan(source: SourceMap, step: Callable[[], object]) -> int | None:
    """Return the line whose derivative is NaN in a step, as PyTorch's anomaly mode tells it."""
    with warnings.catch_warnings(record=True) as caught, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        with contextlib.suppress(RuntimeError):
            step()
    text = "".join(str(warning.message) for warning in caught)
    lines = [
        int(line)
        for file, line in re.findall(r'File "([^"]+)", line (\d+)', text)
        if source.is_ours(file)
    ]
    return lines[-1] if lines else None
