"""Every float of a computation made 64 bits wide: what then still differs is no rounding.

Published recurrences keep their state in fp32 whatever the model's dtype.  Two ways to compute
the same differ there by 1e-7, and so may a true leak; widths tell them apart and sizes do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class _Lifting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Asks every operation for the widest dtype of its kind and gives it nothing narrower."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads_bits = func is torch.ops.aten.view.dtype
        if reads_bits or func._schema.is_mutable:  # what is written to must stay what it is
            return func(*args, **kwargs or {})
        args, kwargs = tree_map(_wider, (args, kwargs or {}))
        return func(*args, **kwargs)


def _wider(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return _WIDER.get(value, value)
    if isinstance(value, Tensor) and value.dtype in _WIDER:
        return value.to(_WIDER[value.dtype])
    return value


@contextmanager
def lifted(on: bool = True) -> Iterator[None]:
    """Compute in fp64 what the code inside asks to have in fp32, fp16 or bf16."""
    if not on:
        yield
        return
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Lifting():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.set_default_dtype(usual)
