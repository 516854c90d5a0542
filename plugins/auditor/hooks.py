"""Hooks on the modules of a block under test: what goes in, what comes out, what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook


def embedding_of(model: nn.Module) -> nn.Embedding:
    """Return the model's own embedding, which comes before those of its blocks."""
    return next(m for m in model.modules() if isinstance(m, nn.Embedding))


@contextmanager
def outputs_of(blocks: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the output (rows, time, width) of every block.

    By a hook on all modules: one on a block would tell the block that it is probed.
    """
    layers: list[Tensor] = []
    wanted = {id(block) for block in blocks}

    def note(module: nn.Module, _inputs: object, reply: tuple[Tensor, object]) -> None:
        if id(module) in wanted:
            layers.append(reply[0].detach())

    handle = register_module_forward_hook(note)
    try:
        yield layers
    finally:
        handle.remove()


@contextmanager
def inputs_of_blocks(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the embedded tokens (batch, time, width), as leaves that keep their gradient."""
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        caught.append(leaf)
        return leaf

    with _hooked([embedding_of(model)], catch):
        yield caught


def place_above(below: Sequence[nn.Module], block: nn.Module) -> None:
    """Have a block called as above those `below` in a stack: with what they leave in Z."""

    def fill(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        Z: dict[str, Any] = {}
        with torch.no_grad():
            X = args[0]
            for each in below:
                X, Z = each.train(module.training)(X, **Z)
        return args, {**Z, **kwargs}

    block.register_forward_pre_hook(fill, with_kwargs=True)


@contextmanager
def nearer(model: nn.Module, tokens: Tensor, share: float) -> Iterator[None]:
    """Have embedded tokens differ from those of `tokens` by that share of what they do."""

    def hook(module: nn.Embedding, _inputs: Any, output: Tensor) -> Tensor:
        return torch.lerp(module.weight[tokens], output, share)

    with _hooked([embedding_of(model)], hook):
        yield


@contextmanager
def doing_nothing(units: Iterable[nn.Module]) -> Iterator[list[Any]]:
    """Put a unit's first tensor in the place of the one that it made; collect who was called.

    Where they are not alike, zeros: a unit in use shows as such all the same.
    """
    called: list[Any] = []

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        made = output[0] if isinstance(output, tuple) and output else output
        if not given or not isinstance(made, Tensor):
            return output
        if made is given[0]:  # a unit that says so hands on what it got, and costs nothing
            return output
        called.append(module)
        alike = given[0].shape == made.shape and given[0].dtype == made.dtype
        other = given[0] if alike else torch.zeros_like(made)
        return (other, *output[1:]) if isinstance(output, tuple) else other

    with _hooked(units, hook, with_kwargs=True):
        yield called


@contextmanager
def calls_of(units: Iterable[nn.Module]) -> Iterator[set[int]]:
    """Collect the ids of the units that are called."""
    called: set[int] = set()
    with _hooked(units, lambda module, *_: called.add(id(module))):
        yield called


@contextmanager
def _hooked(
    modules: Iterable[nn.Module], hook: Callable[..., Any], **options: bool
) -> Iterator[None]:
    handles = [module.register_forward_hook(hook, **options) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
