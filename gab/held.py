"""What a call held: its names, each with a few words on the value.

This runs where the candidate does, and reads values of the candidate's classes: whatever they
raise is caught.  Only types, shapes, dtypes and whole numbers leave, never a `repr` or a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FrameType, ModuleType
from typing import Any

NAMES = 32  # of one call
WORDS = 100  # characters on one value
_PARTS = 3  # of a tuple, a dict, a module's own parameters
_LARGEST = 1 << 53

Held = tuple[tuple[str, str], ...]


def held_by(frame: FrameType) -> Held:
    """Return what the names of a call stand for, those that it takes from `self` last."""
    if frame.f_code.co_name == "<module>":  # its names are the file's definitions
        return ()
    try:
        found = [(name, in_words(value)) for name, value in _names(frame)]
    except Exception:  # the candidate's own classes may fail at anything
        return ()
    return tuple(found[:NAMES])


def in_words(value: Any, inside: bool = False) -> str:
    """Return what a value is: its type, with shape and dtype, or with what it is made of."""
    try:
        return _in_words(value, inside=inside)[:WORDS]
    except Exception:
        return "?"


def own_names(value: Any) -> list[str]:
    """Return the names that a module was given: parameters, buffers, children, then the rest."""
    kept = vars(value)
    stores = [kept.get(store, {}) for store in ("_parameters", "_buffers", "_modules")]
    names = [name for store in stores for name in store]
    names += [name for name in kept if name != "training"]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def _names(frame: FrameType) -> Iterator[tuple[str, Any]]:
    local = {name: v for name, v in frame.f_locals.items() if name.isidentifier()}
    yield from ((n, v) for n, v in local.items() if n != "self" and not n.startswith("__"))
    own = local.get("self")
    if own is None or not hasattr(type(own), "named_parameters"):
        return
    known = set(own_names(own))
    yield from ((f"self.{n}", getattr(own, n)) for n in frame.f_code.co_names if n in known)


def _in_words(value: Any, *, inside: bool) -> str:
    from torch import Size, Tensor, device, dtype, nn

    if value is None or isinstance(value, dtype | device):
        return str(value)
    if isinstance(value, Tensor):
        place = "" if value.device.type == "cpu" else f" on {value.device.type}"
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{place}"
    kind = type(value).__name__
    if type(value) in (bool, int):
        return f"{kind} {value}" if abs(value) < _LARGEST else kind
    if isinstance(value, Size):
        return f"Size {tuple(value)}"
    if isinstance(value, nn.Module):
        return f"{kind}{_parameters(value)}"
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, type):
        return f"class {value.__name__}"
    if inside or type(value) not in (tuple, list, dict):
        return kind
    return f"{kind} of {len(value)}{_parts(value)}"


def _parameters(module: Any) -> str:
    own = [f"{n} {tuple(p.shape)}" for n, p in module._parameters.items() if p is not None]
    return f" with {', '.join(own[:_PARTS])}" if own else ""


def _parts(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = [name for name in value if isinstance(name, str) and name.isidentifier()]
    else:
        parts = [in_words(part, inside=True) for part in value[:_PARTS]]
    more = ", ..." if len(value) > _PARTS else ""
    return f": {', '.join(parts[:_PARTS])}{more}" if parts else ""
