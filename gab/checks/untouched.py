"""Whether the classes that the checks rely on are still as they were before a block was loaded.

The language of a block (`guard`) leaves it no way that we know of to patch them; this looks all
the same.  It compares with `is` alone, which no patch can change.
"""

from __future__ import annotations

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
            if not _same(vars(kind), before):
                return kind.__name__
        return ""

    return changed


def _same(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether the same names stand for the same objects, in the same order."""
    return len(now) == len(before) and all(map(is_, now.values(), before.values()))
