"""What a model keeps next to its parameters and buffers: numbers and lists, wherever they are.

A counter that a block keeps changes no output until it is meant to.  So it is looked for where a
block may keep one: in its modules, their classes, default arguments and globals.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_DEEPEST = 4
_MAX_ENTRIES = 64  # entries of one container that are read; its length counts always
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def kept(model: nn.Module, own_module: str) -> dict[str, str]:
    """Return place -> text of everything plain in `model` and in the module of its block."""
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in _OF_MODULES:
                found[f"{path}.{name}"] = _text(value, own_module)
    for name, value in vars(sys.modules[own_module]).items() if own_module in sys.modules else ():
        if isinstance(value, type) and value.__module__ == own_module:
            for inner, part in _of_class(value):
                found[f"{name}.{inner}"] = _text(part, own_module)
        elif not name.startswith("__"):
            found[name] = _text(value, own_module)
    return found


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Leave a model's buffers as they were, whatever runs meanwhile: a step moves statistics."""
    before = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, values in before:
                module._buffers[name] = buffer.detach_().copy_(values)


_OF_MODULES = frozenset(vars(nn.Module()))


def _of_class(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(kind).items():
        if not name.startswith("__") or name == "__init__":
            yield name, getattr(value, "__defaults__", value)


def _text(value: Any, own_module: str, depth: int = 0) -> str:
    """Return a text of a plain value; only exact types are read, so nothing of a block runs."""
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is Tensor and value.numel() <= _MAX_ENTRIES and not value.is_meta:
        return repr(value.tolist())
    if depth < _DEEPEST:
        if kind in (list, tuple, set, frozenset):
            parts: list[Any] = list(value)[:_MAX_ENTRIES]
            return f"{len(value)}" + repr([_text(part, own_module, depth + 1) for part in parts])
        if kind is dict:
            pairs = [(key, value[key]) for key in list(value)[:_MAX_ENTRIES]]
            return f"{len(value)}" + _text(pairs, own_module, depth + 1)
        if kind.__module__ == own_module and hasattr(value, "__dict__") and kind is not type:
            return _text(vars(value), own_module, depth + 1)
    return kind.__name__
