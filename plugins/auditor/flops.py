"""What a block costs, counted: operations, calls, kept bytes; the same on every machine.

This runs the block.  Only its own process can count, so a count is the candidate's word; what
becomes of it is bounded where it is judged (`cost`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genesys_engine.gab.lean_torch import complete
from genesys_engine.gab.model import LanguageModel, start_generators
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


@dataclass(frozen=True)
class Cost:
    """Operations (flops) and calls of one forward pass of one sequence of `length` tokens."""

    length: int
    operations: int
    calls: int


def stack(
    block_class: type[nn.Module], width: int, blocks: int, device: str | None = None
) -> list[nn.Module]:
    """Return the layers of a stack of blocks, in eval mode; one alone is the first of two."""
    start_generators(0)
    places = [(index, max(2, blocks)) for index in range(blocks)]
    return [block_class(width, place, device=device).eval() for place in places]


def through(blocks: Iterable[nn.Module], X: Tensor) -> Tensor:
    """Return what blocks make of X (B, T, width) one after the other, Z carried through."""
    Z: dict[str, Any] = {}
    for block in blocks:
        X, Z = block(X, **Z)
    return X


def forward_and_backward(blocks: Iterable[nn.Module], X: Tensor) -> None:
    """Run blocks one after the other on X (B, T, width), and back."""
    through(blocks, X.requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]


def count_cost(block_class: type[nn.Module], width: int, length: int, blocks: int = 1) -> Cost:
    """Count a block's forward pass: the mean of `blocks` layers, where they differ.

    The CPU computes it in a fraction of the time that the meta device's Python takes to trace it.
    """
    layers = stack(block_class, width, blocks)
    X = torch.zeros(1, length, width)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), OperationCounter() as counter:
        through(layers, X)
    return Cost(length, round(counter.operations / blocks), round(counter.calls / blocks))


def run_without_values(
    block_class: type[nn.Module], width: int, length: int, blocks: int = 1
) -> None:
    """Run layers on the meta device, as large scales are counted."""
    layers = stack(block_class, width, blocks, device="meta")
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        through(layers, torch.zeros(1, length, width, device="meta"))


def saved_bytes(block_class: type[nn.Module], width: int, length: int, blocks: int = 1) -> int:
    """Return the bytes that one sequence's forward pass keeps for its backward pass (fp32).

    For one block: the mean of `blocks` layers, where they differ.
    """
    layers = [layer.train() for layer in stack(block_class, width, blocks)]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
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
        Y = through(layers, X)
    del Y
    return round(sum(sizes.values()) / blocks)


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
    if device == "meta":
        complete()  # without shape functions some operations would count otherwise, or fail
    start_generators(0)
    model = LanguageModel(block_class, config, device=device).eval()
    tokens = torch.zeros(1, config.context, dtype=torch.long, device=device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), OperationCounter() as counter:
        model(tokens)
    operations: int = counter.operations
    return operations / config.context
