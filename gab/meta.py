"""Running code on the meta device, in a process that may lack PyTorch's shape functions in Python.

`lean_torch` leaves them out, and their import costs more than most of the audits that they serve.
What lacks one is computed once on the CPU instead, with zeros, for the shape of what comes out.
Where that does not do, or anything fails, they are imported and have the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_map_only

from genesys_engine.gab import lean_torch

Result = TypeVar("Result")
_OF_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


def on_meta(action: Callable[[], Result]) -> Result:
    """Return what `action` gives; it may be called twice.

    Raises:
        Exception: what `action` raises with all of PyTorch's shape functions.
    """
    if not lean_torch.lacks_shapes():
        return action()
    try:
        with _ShapesFromCPU():  # type: ignore[no-untyped-call]
            return action()
    except Exception:
        lean_torch.complete()
    return action()


class _ShapesFromCPU(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs operations without a shape function on the CPU, unless shapes depend on values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **kwargs or {})
        except NotImplementedError:
            given = (args, kwargs or {})
            if func._schema.is_mutable or func.is_view or _OF_VALUES & set(func.tags):
                raise
            if tree_any(_is_elsewhere, given):
                raise
            args, kwargs = tree_map_only(Tensor, _zeros, given)
        return tree_map_only(Tensor, _shape_of, func(*args, **_on_cpu(kwargs)))


def _is_elsewhere(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_meta and value.dim() > 0


def _zeros(tensor: Tensor) -> Tensor:
    """Return a tensor of the CPU that lies in memory as this one would."""
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return made.zero_()


def _shape_of(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _on_cpu(options: dict[str, Any]) -> dict[str, Any]:
    return options | ({"device": torch.device("cpu")} if "device" in options else {})
