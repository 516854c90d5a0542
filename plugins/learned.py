"""How many numbers training has learned: counted in its checkpoint, by the judge.

The parameters that a block declares decide its size class, and smaller is better.  Everything else
in the checkpoint that training has changed is therefore counted too: state hidden in buffers is as
learned as weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.scales import TOLERANCE
from genesys_engine.plugins.sandbox.subject import Asked, BadAnswer

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Learned:
    """Numbers in a checkpoint: `parameters`, and `others` that training has changed."""

    parameters: int
    others: int

    def contradiction(self) -> str:
        """Return what contradicts the declared parameters, "" for nothing.

        Running statistics are few; what is allowed is what models of one scale may differ by.
        """
        if self.others <= TOLERANCE * self.parameters:
            return ""
        return (
            f"training has changed {self.others:,} numbers that are no parameters, next to"
            f" {self.parameters:,} that are: what is learned counts as parameters, so make it some,"
            " or keep less"
        )


def count_learned(subject: Asked, checkpoint: str | None) -> Learned:
    """Count the numbers in a checkpoint; `subject` has built the same model, untrained.

    Which names are parameters, and what the others began with, is the subject's word.  A name that
    it leaves out counts as changed, and so does one whose beginning is not what is in the file.
    """
    if checkpoint is None:
        return Learned(0, 0)
    from safetensors import safe_open

    parameters, fresh = _state(subject)
    counts = {True: 0, False: 0}
    with safe_open(checkpoint, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            if name in parameters:
                counts[True] += math.prod(file.get_slice(name).get_shape())
            elif not _same(fresh.get(name), (value := file.get_tensor(name))):
                counts[False] += value.numel()
    return Learned(counts[True], counts[False])


def _state(subject: Asked) -> tuple[frozenset[str], dict[str, Tensor]]:
    answer, values = subject.ask("state")
    parameters, buffers = (_names(answer.get(kind)) for kind in ("parameters", "buffers"))
    if len(buffers) != len(values):
        raise BadAnswer("buffers that are not those that are named")
    return frozenset(parameters), dict(zip(buffers, values, strict=True))


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadAnswer("names that are no list of texts")
    return value


def _same(one: Tensor | None, other: Tensor) -> bool:
    """Tell whether two tensors are equal, NaN included."""
    import torch

    if one is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(*(t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)))
