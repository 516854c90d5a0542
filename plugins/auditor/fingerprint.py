"""A digest of what a block computes: equal functions have equal fingerprints.

Two blocks, or a dozen where layers differ (Z carried through), are filled by a rule that knows
only the order and the shapes of their parameters, fed a fixed input, and their output is rounded to
4 significant digits.  A form that is chunked otherwise or written otherwise gives the same; a
window, a gate, a width or an order of layers that matters gives another.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from genesys_engine.gab.layers import LOOKED_AT
from genesys_engine.plugins.auditor.candidate import only
from genesys_engine.plugins.auditor.subject import BLOCKS, WIDTH, Subject

LENGTH = 257  # longer than the usual windows, and no multiple of a chunk
_DIGITS = 4


def fingerprint(subject: Subject) -> str:
    """Return the fingerprint, 64 hex digits; it does not depend on the subject's seed."""
    X = _fill((1, LENGTH, WIDTH), 0.0) * 2
    shift, blocks = 1.0, []
    depth = LOOKED_AT if subject.kinds.differ else BLOCKS
    for index in range(depth):
        block = subject.block(index, width=WIDTH, blocks=depth, seed=0)
        values = []
        for parameter in block.parameters:
            values.append(_fill(parameter.shape, shift) * parameter.fan_in**-0.5)
            shift += 1.0
        subject.candidate.have(block, "fill", *values)
        blocks.append(block)
    numbers = [block.number for block in blocks]
    _, made = subject.candidate.ask("run_blocks", X, models=numbers)
    return hashlib.sha256(_rounded(only(made)[0].double())).hexdigest()


def _fill(shape: tuple[int, ...], shift: float) -> Tensor:
    """Return values with about unit variance that depend on the shape and `shift` alone.

    A sum of sines with irrational steps: unlike a generator's numbers, the same on every
    version of PyTorch.
    """
    i = torch.arange(math.prod(shape), dtype=torch.float64) + 17.0 * shift
    golden, plastic = 0.6180339887498949, 0.7548776662466927
    angle = 2 * math.pi * torch.frac(i * golden + torch.frac(i * plastic * shift + shift * 0.1))
    return (torch.sin(angle) * math.sqrt(2)).reshape(shape)


def _rounded(output: Tensor) -> bytes:
    """Return the values as whole multiples of the 4th digit of their root mean square."""
    size = float(output.square().mean().sqrt())
    if not (math.isfinite(size) and size > 0):
        return repr(size).encode()
    quantum = 10.0 ** (math.floor(math.log10(size)) - _DIGITS + 1)
    return (output / quantum).round().to(torch.int64).numpy().tobytes()
