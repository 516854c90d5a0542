"""Whether the classes that the checks rely on are still as they were before a block was loaded.

The language of a block (`guard`) leaves it no way that we know of to patch them; this looks all
the same.  It compares with `is` alone, which no patch can change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.model import LanguageModel

# The ones through which every comparison goes: cheap enough to look at after every call.
_FIRST = (Tensor, nn.Module, LanguageModel)


class PatchedError(Exception):
    """A block has changed a class that is not its own."""


@cache
def remember() -> Callable[[bool], str]:
    """Note every class now; return what names, at any later time, the first one that differs.

    What is returned looks at a few classes, or at all of them where it is called with True.
    """
    classes = [kind for kind in vars(nn).values() if isinstance(kind, type)]
    classes += [torch.autograd.Function, torch.nn.attention.SDPBackend]
    noted = [(kind, dict(vars(kind))) for kind in dict.fromkeys((*_FIRST, *classes))]

    def changed(everything: bool = False) -> str:
        for kind, before in noted if everything else noted[: len(_FIRST)]:
            if not _same(vars(kind), before) and not _marked_by_dynamo(kind, before):
                return kind.__name__
        return ""

    return changed


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
