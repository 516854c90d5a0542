"""A block of another form, brought to the contract's: any module that maps X to its like.

The contract is `Block(embed_dim, block_loc, device=None, dtype=None)` with `forward(X, **Z)` that
returns (X, Z).  Modules outside are written as `Mixer(dim)` with `forward(x)`; nothing but their
form keeps them from being audited.  What no adapter can know (a width of the heads without a
default, a mask that forward demands) is a finding of the static look.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# What a model gives a block by name; the width goes by position.
NAMED = ("block_loc", "device", "dtype")
_WIDTHS = frozenset({"embed_dim", "d_model", "dim", "width", "hidden_size", "n_embd", "model_dim"})


def replying_with_pairs(block_class: type[nn.Module]) -> type[nn.Module]:
    """Return the class with a forward that answers (X, Z) where the given one answers X alone."""

    def forward(self: nn.Module, X: Tensor, **Z: Any) -> Any:
        reply = block_class.forward(self, X, **Z)
        return (reply, Z) if isinstance(reply, Tensor) else reply

    return _derived(block_class, {"forward": forward})


def adapted(block_class: type[nn.Module]) -> type[nn.Module]:
    """Return the class in the contract's form, whatever its constructor and its forward take."""
    building = _parameters(block_class.__init__)
    running = _parameters(block_class.forward)

    def build(self: nn.Module, embed_dim: int, block_loc: Any, **placed: Any) -> None:
        given = {"block_loc": block_loc, **placed}
        named = {name: value for name, value in given.items() if _takes(building, name)}
        by_name = _width_of(building)
        width = ((), {by_name: embed_dim}) if by_name else ((embed_dim,), {})
        block_class.__init__(self, *width[0], **width[1], **named)
        left = {name: value for name, value in placed.items() if name not in named}
        place(self, left.get("device"), left.get("dtype"))

    def forward(self: nn.Module, X: Tensor, **Z: Any) -> Any:
        reply = block_class.forward(self, X, **{k: v for k, v in Z.items() if _takes(running, k)})
        return (reply, Z) if isinstance(reply, Tensor) else reply

    return _derived(block_class, {"__init__": build, "forward": forward})


def place(module: nn.Module, device: Any, dtype: torch.dtype | None) -> None:
    """Bring a module to a device and its numbers to a dtype, complex ones to its counterpart."""

    def move(tensor: Tensor) -> Tensor:
        wanted = dtype.to_complex() if dtype and tensor.is_complex() else dtype
        whole = not (tensor.is_complex() or tensor.is_floating_point())
        return tensor.to(device=device, dtype=None if whole else wanted)

    if device is not None or dtype is not None:
        module._apply(move)  # type: ignore[no-untyped-call]


def lacking(function: ast.FunctionDef | None, named: tuple[str, ...], *, x: bool) -> list[str]:
    """Return the parameters without a default that would get no value.

    `named` go by name, and one more, the width of a constructor or with `x` that of forward.
    """
    if function is None:
        return []
    arguments = function.args
    positional = [a.arg for a in [*arguments.posonlyargs, *arguments.args]][1:]
    keyword = [a.arg for a in arguments.kwonlyargs]
    width = "" if x else width_name(positional, keyword)
    required = positional[: len(positional) - len(arguments.defaults)]
    required = required[1:] if not width else required  # what goes by position
    required += [
        name
        for name, default in zip(keyword, arguments.kw_defaults, strict=True)
        if default is None
    ]
    return [name for name in required if name != width and name not in named]


def width_name(positional: Sequence[str], keyword: Sequence[str]) -> str:
    """Return the name under which a constructor is given the width, or "" for its first argument.

    Published modules may begin with another argument, and take the width further on.
    """
    if positional and positional[0] in _WIDTHS:
        return ""
    return next((name for name in (*positional, *keyword) if name in _WIDTHS), "")


def _derived(block_class: type[nn.Module], methods: Mapping[str, Any]) -> type[nn.Module]:
    names = {**methods, "__module__": block_class.__module__}
    return type(block_class.__name__, (block_class,), names)


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _takes(parameters: Mapping[str, inspect.Parameter], name: str) -> bool:
    """Tell whether a function takes an argument of a name; `block_loc` only where it is named.

    Whoever hands all further arguments on to layers of torch has device and dtype in mind.
    """
    if name in parameters:
        return parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    rest = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    inherits = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
    return rest and (name != "block_loc" or inherits)


def _width_of(parameters: Mapping[str, inspect.Parameter]) -> str:
    """Return the same of a function's signature."""
    own = list(parameters.values())[1:]
    positional = [p.name for p in own if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    return width_name(positional, [p.name for p in own if p.kind is inspect.Parameter.KEYWORD_ONLY])
