"""Whether a block's gradient is the slope of what it computes.

A gradient comes from the block's own process.  So it is compared with outputs: along a random
direction of inputs and parameters together, the change of a random sum of outputs is what the
gradient says, where that is the derivative.  An estimator that passes a step function by (Bengio et
al. 2013, arXiv 1308.3432) rightly says something else: a warning.  Nobody gains by it: that no
output depends on what comes later is asked of outputs, whatever the gradient says of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.plugins.auditor.candidate import Model, found, only
from genesys_engine.plugins.auditor.numbers import EQUAL
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.sandbox.subject import BadAnswer

_LENGTH = 31
# A step of the first size rounds where a part computes in fp32; one of the last bends where the
# function does.  At a kink, or where a choice flips, one of three directions may be wrong.
_STEPS = (1e-5, 1e-4, 1e-3)
APART = 0.01  # of the larger of the two


def check_slope(subject: Subject) -> Iterator[Finding]:
    """`gradient.differs` (warning): along no direction the gradient is the slope of the outputs."""
    for number, block in enumerate(subject.opened_kinds(torch.float64)):
        slopes = _apart(subject, block.eval(), move_inputs=not number)
        if slopes is not None:
            gradient, outputs = slopes
            text = f"The outputs change by {outputs:.3g} along a direction; "
            evidence: dict[str, Evidence] = {"length": _LENGTH, "outputs": outputs}
            evidence |= {"gradient": gradient}
            yield finding(
                "gradient.differs",
                f"{text}the gradient says {gradient:.3g}.",
                evidence,
                place=subject.place_of(block),
                severity="warning",
            )
            return


def _apart(subject: Subject, block: Model, *, move_inputs: bool) -> tuple[float, float] | None:
    """Return the slopes along the last direction where they differ along every one.

    Of a block that is placed above others parameters alone are moved: what these leave in Z follows
    from the input too, and without a gradient.
    """
    slopes = None
    for number, step in enumerate(_STEPS):
        slopes = _slopes(subject, block, step, 30 + number, move_inputs=move_inputs)
        if slopes is None:
            return None  # what is not finite has findings of its own
        gradient, outputs = slopes
        larger = max(abs(gradient), abs(outputs))
        if abs(gradient - outputs) <= APART * larger or larger <= EQUAL:
            return None
    return slopes


def _slopes(
    subject: Subject, block: Model, step: float, salt: int, *, move_inputs: bool
) -> tuple[float, float] | None:
    """Return the slope of a random sum of outputs, by the gradient and by outputs."""
    generator = subject.generator(salt)

    def drawn(shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=generator)

    X, along, weights = (drawn((1, _LENGTH, subject.width)).double() for _ in range(3))
    along *= move_inputs
    moves = [drawn(p.shape) for p in block.parameters]
    sizes = [p.fan_in**-0.5 for p in block.parameters]
    ask = subject.candidate.of
    answer, (before, *made) = ask(block, "pull_block", X.clone(), weights)
    if not torch.isfinite(before).all():
        return None
    pulled = found(answer, made, 1 + len(moves))
    subject.candidate.have(block, "add", *moves, scales=[step * size for size in sizes])
    _, after = ask(block, "run", X + step * along, seed=0, gradient=False, wide=False)
    if [t.shape for t in (before, only(after)[0])] != [X.shape] * 2:
        raise BadAnswer("outputs of another shape than the input's")
    outputs = float(((after[0] - before) * weights).mean()) / step
    parts = zip(pulled, (along, *moves), (1.0, *sizes), strict=True)
    return math.fsum(_along(pull, move) * size for pull, move, size in parts), outputs


def _along(gradient: Tensor | None, direction: Tensor) -> float:
    """Return how fast a sum grows along a direction; a complex parameter moves by real numbers."""
    if gradient is None:
        return 0.0
    if gradient.shape != direction.shape:
        raise BadAnswer("a gradient of another shape than its parameter's")
    return float(((gradient.real if gradient.is_complex() else gradient) * direction).sum())
