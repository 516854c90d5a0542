"""What a block costs, counted: operations, calls, kept bytes; the same on every machine.

This runs the block.  Only its own process can count, so a count is the candidate's word; what
becomes of it is bounded where it is judged (`cost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.auditor.numbers import start_generator


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


@dataclass(frozen=True)
class Cost:
    """Operations (flops) and calls of one forward pass of one sequence of `length` tokens."""

    length: int
    operations: int
    calls: int


def count_cost(block_class: type[nn.Module], width: int, length: int) -> Cost:
    """Count one block's forward pass.

    The CPU computes it in a fraction of the time that the meta device's Python takes to trace it.
    """
    start_generator(0)
    block = block_class(width, (0, 2)).eval()
    X = torch.zeros(1, length, width)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), OperationCounter() as counter:
        block(X)
    return Cost(length, counter.operations, counter.calls)


def run_without_values(block_class: type[nn.Module], width: int, length: int) -> None:
    """Run one block on the meta device, as large scales are counted."""
    block = block_class(width, (0, 2), device="meta").eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        block(torch.zeros(1, length, width, device="meta"))


def saved_bytes(block_class: type[nn.Module], width: int, length: int) -> int:
    """Return the bytes that one sequence's forward pass keeps for its backward pass (fp32)."""
    start_generator(0)
    block = block_class(width, (0, 2))
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    sizes: dict[int, int] = {}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # alive, so that no address is given out twice
        return tensor

    X = torch.zeros(1, length, width).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Y = block(X)[0]
    del Y
    return sum(sizes.values())


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
