"""Whether the classes and functions that the checks rely on are still as they were before a block.

The language of a block (`guard`) leaves it no way that we know of to patch them; this looks all
the same, where the block runs.  It is a tripwire and no proof: it shares the process with what it
watches, and no verdict hangs on it.  It compares with `is` alone, which no patch of a class can
change.
"""

from __future__ import annotations

import builtins
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from operator import attrgetter, is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.lean_torch import Placeholder
from genesys_engine.gab.model import LanguageModel

# The ones through which every comparison goes: cheap enough to look at after every call.
_FIRST = (Tensor, nn.Module, LanguageModel)
_OURS = tuple(f"genesys_engine.{room}." for room in ("gab", "plugins.auditor", "plugins.sandbox"))
_LIBRARIES = (
    builtins, math, json, torch, torch.nn.functional, torch.linalg, torch.fft, torch.special,
    torch.autograd, torch.random, torch.nn.init, torch.nn.modules.module,
)  # fmt: skip
# Of a function, what can be put in place of what it does.
_PARTS = tuple(map(attrgetter, ("__code__", "__defaults__", "__kwdefaults__")))
_BY_DYNAMO = frozenset({"manual_seed"})  # importing it wraps these


class PatchedError(Exception):
    """A block has changed a class that is not its own."""


@cache
def remember() -> Callable[[bool], str]:
    """Note every class and function now; return what names, at any later time, one that differs.

    What is returned looks at a few classes, or at everything where it is called with True.
    """
    classes = [kind for kind in vars(nn).values() if isinstance(kind, type)]
    classes += [torch.autograd.Function, torch.nn.attention.SDPBackend]
    noted = [(kind, dict(vars(kind))) for kind in dict.fromkeys((*_FIRST, *classes))]
    modules = [*_LIBRARIES, *(m for name, m in sys.modules.items() if name.startswith(_OURS))]
    held = [(module, _held(module)) for module in modules]
    functions = _functions([*(before for _, before in noted), *(before for _, before in held)])
    parts = [tuple(map(part, functions)) for part in _PARTS]

    def changed(everything: bool = False) -> str:
        for kind, before in noted if everything else noted[: len(_FIRST)]:
            if not _same(vars(kind), before) and not _marked_by_dynamo(kind, before):
                return kind.__name__
        return next(_changed_functions(), "") if everything else ""

    def _changed_functions() -> Iterator[str]:
        for module, before in held:
            now = vars(module)
            if not all(map(is_, map(now.get, before), before.values())):
                name = next(name for name, value in before.items() if now.get(name) is not value)
                yield f"{module.__name__}.{name}"
        for part, were in zip(_PARTS, parts, strict=True):
            if not all(map(is_, map(part, functions), were)):
                pairs = zip(functions, were, strict=True)
                yield next(each.__qualname__ for each, was in pairs if part(each) is not was)

    return changed


def _held(module: ModuleType) -> dict[str, Any]:
    """Return the functions, classes and modules that a module holds."""
    kinds = (FunctionType, BuiltinFunctionType, type, ModuleType)
    found = {name: value for name, value in vars(module).items() if isinstance(value, kinds)}
    found = {name: value for name, value in found.items() if not isinstance(value, Placeholder)}
    return {name: value for name, value in found.items() if name not in _BY_DYNAMO}


def _functions(holders: Iterable[Mapping[str, Any]]) -> tuple[FunctionType, ...]:
    """Return every function of Python in these, once."""
    values = (value for held in holders for value in held.values())
    return tuple({id(value): value for value in values if type(value) is FunctionType}.values())


def _same(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether the same names stand for the same objects, in the same order."""
    return len(now) == len(before) and all(map(is_, now.values(), before.values()))


def _marked_by_dynamo(kind: type, before: Mapping[str, Any]) -> bool:
    """Tell whether all that differs is what dynamo does to `nn.Module` when it first compiles.

    It wraps `__init__` and `__setstate__` to count instances (flex_attention calls it by itself).
    A wrapper is known by its code, which no block can make, and by what it wraps.
    """
    guard = sys.modules.get("torch._dynamo.mutation_guard")
    if kind is not nn.Module or guard is None:
        return False
    codes = guard.install_generation_tagging_init.__code__.co_consts
    now = dict(vars(kind))
    for name in ("__init__", "__setstate__"):
        wrapper = now.get(name)
        code, cells = getattr(wrapper, "__code__", None), getattr(wrapper, "__closure__", None)
        wraps = any(cell.cell_contents is before[name] for cell in cells or ())
        if not wraps or not any(code is part for part in codes):
            return False
        now[name] = before[name]
    now.pop("___needs_generation_tag_patch", None)
    return _same(now, before)
