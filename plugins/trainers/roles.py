"""Which of a model's weights are matrices, and which are tables or vectors: the optimiser asks.

A matrix multiplies a signal, so that its update has directions that can be balanced against each
other (Muon).  A shape alone does not say so: a decay per head and channel has two dimensions and
no directions.  The rule, for weights of any unit:

* a weight of `nn.Embedding`, and the tied head with it, is a *table*: a step touches single rows;
* what has fewer than two dimensions, or a side below `MIN_SIDE`, is a *vector*: gains, biases,
  values per head, mixes of a few neighbours;
* a weight of a depthwise convolution is a vector too, since none of its rows meets another channel;
  of any other convolution each row is one output channel, (out, in / groups, kernel) read as
  (out, in / groups * kernel);
* any other weight is a matrix, and with more than two dimensions a stack of matrices over the last
  two: experts (E, in, out), inner states of heads (H, d, d).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

MIN_SIDE = 16
"""Below this a matrix has too few directions; per-head weights of the small scales lie below."""


@dataclass(frozen=True)
class Roles:
    """A model's trained weights by role, each in the model's order.

    `matrices` also gives the shape (stack, rows, columns) that each is read as.
    """

    matrices: tuple[tuple[nn.Parameter, tuple[int, int, int]], ...]
    tables: tuple[nn.Parameter, ...]
    vectors: tuple[nn.Parameter, ...]


def roles_of(model: nn.Module) -> Roles:
    """Sort the trained weights of `model` by role."""
    tables, convolutions = _special(model)
    matrices, flat = [], []
    for parameter in model.parameters():
        if not parameter.requires_grad or id(parameter) in tables:
            continue
        shape = matrix_shape(parameter, convolution=id(parameter) in convolutions)
        if shape is None:
            flat.append(parameter)
        else:
            matrices.append((parameter, shape))
    listed = tuple(p for p in model.parameters() if id(p) in tables and p.requires_grad)
    return Roles(tuple(matrices), listed, tuple(flat))


def matrix_shape(weight: Tensor, *, convolution: bool = False) -> tuple[int, int, int] | None:
    """Return (stack, rows, columns) of a weight that is a matrix or several; None for a vector."""
    if weight.ndim < 2 or weight.is_complex():
        return None
    if convolution:
        rows, columns = weight.shape[0], weight[0].numel()
        shape = (1, rows, columns if weight.shape[1] > 1 else 1)
    else:
        shape = (weight.shape[:-2].numel(), weight.shape[-2], weight.shape[-1])
    return shape if min(shape[1:]) >= MIN_SIDE else None


def _special(model: nn.Module) -> tuple[set[int], set[int]]:
    """Return the weights (by identity) of embeddings and of convolutions."""
    from torch import nn

    convolutions = nn.Conv1d | nn.Conv2d | nn.Conv3d
    return (
        set(_weights(model, nn.Embedding | nn.EmbeddingBag)),
        set(_weights(model, convolutions)),
    )


def _weights(model: nn.Module, kind: object) -> Iterator[int]:
    yield from (id(m.weight) for m in model.modules() if isinstance(m, kind))  # type: ignore[arg-type]
