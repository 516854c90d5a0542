"""Units as live modules with random parameters, for the proofs of the seeds."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import genesys_engine.gab.library as library

UNIT_NAMES = tuple(
    sorted(p.stem for p in (Path(library.__path__[0]) / "units").glob("*.py") if p.stem[0] != "_")
)
# What stands in a slot of each interface when a test is about the parent.
DEFAULTS = {
    "block": "pre_norm_block",
    "sequence_mixer": "causal_attention",
    "channel_mixer": "gelu_mlp",
    "norm": "layer_norm",
    "gate": "sigmoid_gate",
    "local_mixer": "short_convolution",
    "position": "rotary",
    "recurrence": "channel_decay_recurrence",
}
Child = str | Callable[[int], nn.Module]


@functools.cache
def unit_class(name: str) -> Any:
    # By its file: an import of the package `units` would hide the function `library.units`.
    file = Path(library.__path__[0]) / "units" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"library_unit_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    (found,) = (c for c in vars(module).values() if hasattr(c, "interface"))
    return found


def make(
    name: str,
    d_model: int,
    *,
    loc: tuple[int, int] = (0, 2),
    dtype: torch.dtype = torch.float64,
    hyper: dict[str, Any] | None = None,
    **children: Child,
) -> nn.Module:
    """Return the unit; children by slot are unit names or factories, else the defaults.

    What a constructor draws at random is the same in every call.
    """
    cls = unit_class(name)
    torch.manual_seed(0)

    def factory(child: Child) -> Callable[[int], nn.Module]:
        if callable(child):
            return child
        return lambda width: make(child, width, loc=loc, dtype=dtype)

    slots = {
        slot: factory(children.get(slot, DEFAULTS[interface]))
        for slot, (interface, _) in cls.slots.items()
    }
    return cls(d_model, loc, **slots, **(hyper or {}), dtype=dtype)


def randomise(module: nn.Module, seed: int = 0, size: float = 0.3) -> nn.Module:
    """Move every parameter by a normal draw of deviation `size`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(size * noise.to(parameter.dtype))
    return module


def draw(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; shapes must agree and NaN is infinite."""
    assert a.shape == b.shape
    return float((a - b).detach().abs().nan_to_num(nan=float("inf")).max())


def extra_z(unit: Any, rows: int, steps: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Return the values of Z that a recurrence reads when no parent hands them over."""
    if unit.interface != "recurrence":
        return {}
    return {
        "queries": draw(rows, steps, 8, seed=2, dtype=dtype),
        "keys": draw(rows, steps, 8, seed=3, dtype=dtype),
        "log_decay": -draw(rows, steps, 8, seed=4, dtype=dtype).abs(),
    }
