"""Floating-point operations per token, counted on the meta device: the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genesys_engine.gab.checks.numbers import start_generator
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts 2 per multiply-add of matrix products, convolutions and attention, and 1 per
    element that any other operation writes; views are free.  `calls` counts every call."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        self.calls += 1
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += count(*args, **kwargs, out_val=output)
        elif not func.is_view:
            outputs = output if isinstance(output, tuple | list) else (output,)
            self.operations += sum(t.numel() for t in outputs if isinstance(t, torch.Tensor))
        return output


def flops_per_token(
    block_class: type[nn.Module], config: ModelConfig, device: str = "meta"
) -> float:
    """Return the operations of one forward pass of the whole model, per token.

    One sequence of the training context is run.  Elementwise work counts too, so a scan that is
    written without matrix products is not free.  Attention counts the full square, masked or
    not, as it is computed.

    Raises:
        Exception: what the block raises; on the meta device also where it reads values.
    """
    start_generator(0)
    model = LanguageModel(block_class, config, device=device).eval()
    tokens = torch.zeros(1, config.context, dtype=torch.long, device=device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), OperationCounter() as counter:
        model(tokens)
    operations: int = counter.operations
    return operations / config.context


def device_bound(source: SourceMap, error: Exception, evidence: Mapping[str, Evidence]) -> Finding:
    """Return the warning `device.bound`: the block raised `error` on the meta device."""
    place = source.place_of_error(error)
    text = f"forward fails on the meta device: {type(error).__name__}: {error}"[:1000]
    return finding("device.bound", text, evidence, place=place, severity="warning")
