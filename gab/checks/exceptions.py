"""Advice from the exceptions of a block, more specific than that of their codes."""

from __future__ import annotations

import re

from genesys_engine.gab.raised import Raised

_NAME = "Use a name that exists: spell it as it is defined, and define it before it is used."
GIVEN = (
    "The block is called with X alone: `block(X, **Z)`. Give every further argument of forward a "
    "default, or compute it from X inside (masks, position ids, cos and sin); docs/auditor.md "
    "shows a wrapper."
)
_CONFIG = (
    "The constructor is given the width as a number: take it as that, and everything else that a "
    "configuration would hold as an argument with a default."
)
_DTYPE = (
    "Bring both tensors to one dtype: create tensors with dtype=X.dtype, hand dtype on to every "
    "layer, and cast back with .to(X.dtype) after a part that runs in another one."
)
_DEVICE = "Create every tensor on X's device (device=X.device) and name no device in the code."
_REFUSED = (
    "The block itself refuses this input: let it work at every length from 1 on and for any batch "
    "size, by padding to a whole chunk and cutting off again."
)
_TABLE = (
    "An index lies beyond the end of a table: make tables of positions as long as the longest "
    "input, or compute them from X.shape[1]."
)
_IN_PLACE = (
    "Write into no tensor that the backward pass needs: replace `x[...] = y` and `x += y` by "
    "torch.cat, torch.stack, torch.where or F.pad."
)
_GRAPH = (
    "Keep the path from X and the parameters to the output differentiable: no detach, no .data."
)
_FILES = "A block computes on tensors only: it opens no file and starts no process."
_MISSING = "Import what is installed: only torch, einops and modules of pure computation are."

# (classes of exceptions, pattern in the text, advice); the first that fits counts.
_RULES: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((ImportError,), "", _MISSING),
    ((OSError,), "", _FILES),
    ((TypeError,), r"forward\(\).* missing \d+ required", GIVEN),
    ((AttributeError, NameError), "", _NAME),
    ((AssertionError,), r"CUDA|cuda", _DEVICE),
    ((RuntimeError,), r"NVIDIA driver|CUDA (error|GPU)|on the same device", _DEVICE),
    ((RuntimeError,), r"scalar type|same dtype|bias type|dtype mismatch|dtypes? to be", _DTYPE),
    ((RuntimeError,), r"inplace operation|in-place operation", _IN_PLACE),
    ((RuntimeError,), r"does not require grad", _GRAPH),
    ((IndexError,), r"out of (range|bounds)(?!.*size 0)", _TABLE),
    ((AssertionError,), "", _REFUSED),
)


def advice_for(code: str, error: Raised) -> str:
    """Return advice by the kind of the exception; "" if the finding's code says enough."""
    if code == "build.error":
        given = "AttributeError" in error.kinds and "'int' object" in error.text
        return _CONFIG if given else ""
    if code not in ("forward.error", "autocast.error"):
        return ""
    for kinds, pattern, advice in _RULES:
        named = any(kind.__name__ in error.kinds for kind in kinds)
        if named and re.search(pattern, error.text, re.IGNORECASE):
            return advice
    return ""
