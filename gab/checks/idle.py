"""Units that change nothing: replaced by the identity, the model's output stays the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.numbers import EQUAL, difference, worst
from genesys_engine.gab.checks.report import Finding, finding
from genesys_engine.gab.checks.subject import Subject


def check_dead_units(subject: Subject) -> Iterator[Finding]:
    """`unit.dead`: a unit inside the blocks without which the output is the same, in any mode.

    All blocks' namesakes are replaced at once.  Parameters are moved, so that a gate at zero is
    no reason; the generator starts alike, so that dropout elsewhere is none either.
    """
    model = subject.shared
    tokens, output = subject.answer
    for path, units in _units(subject, model).items():
        called: list[Any] = []
        change = 0.0
        for mode in (False, True):
            if change <= EQUAL:  # the other mode is asked only where this one is the same
                whole = subject.run(model.train(), tokens) if mode else output
                with _replaced(units, called):
                    change = worst([difference(whole, subject.run(model.train(mode), tokens))])
        if called and change <= EQUAL:  # one that is never called has a finding of its own
            place = subject.source.place_of_class(units[0])
            text = f"Without the unit at {path!r} the output is the same."
            yield finding("unit.dead", text, {"path": path, "change": change}, place=place)
    model.eval()


def _units(subject: Subject, model: nn.Module) -> dict[str, list[nn.Module]]:
    """Return the units within the blocks by their path in the block."""
    found: dict[str, list[nn.Module]] = {}
    for block in model.modules():
        if isinstance(block, subject.block_class):
            for name, module in block.named_modules():
                if name and subject.source.is_unit(module):
                    found.setdefault(name, []).append(module)
    return found


@contextmanager
def _replaced(units: list[nn.Module], called: list[Any]) -> Iterator[None]:
    """Have the units do nothing; those that are called are added to `called`."""
    hook = _identity(called)
    handles = [unit.register_forward_hook(hook, with_kwargs=True) for unit in units]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _identity(called: list[Any]) -> Callable[..., Any]:
    """Return a hook that puts a unit's first tensor in the place of the one that it made.

    Where they are not alike, zeros: a unit in use shows as such all the same.
    """

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

    return hook
