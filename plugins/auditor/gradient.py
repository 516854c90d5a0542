"""The loss reaches every parameter and every unit, with finite gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import Place
from genesys_engine.plugins.auditor.candidate import Asking, Model, found, rows
from genesys_engine.plugins.auditor.lengths import SHORT
from genesys_engine.plugins.auditor.reach import Reached, in_block
from genesys_engine.plugins.auditor.subject import Subject

# Inputs and parameters that are drawn before a missing gradient is reported: of 64 experts,
# each taken by one token in 32, all are reached in far fewer.
_TRIES = 8
_MANY = 512  # tokens of a further try


def check_gradient(subject: Subject) -> Iterator[Finding]:
    """`gradient.nonfinite`, `gradient.blocked`, `gradient.missing` and `gradient.partial`.

    Whether a gradient arrives is asked with moved parameters: behind a gate that starts at
    zero it is zero at first, and rightly so.  A parameter may be idle in some blocks (a first
    block that reads nothing yet), but not in all; for some inputs (an expert that no token takes,
    a memory that short inputs do not need), but not for all.
    """
    yield from _gradients(subject, initial=True)


def check_gradient_fast(subject: Subject) -> Iterator[Finding]:
    """The same with moved parameters only."""
    yield from _gradients(subject, initial=False)


def _gradients(subject: Subject, *, initial: bool) -> Iterator[Finding]:
    tries = {"moved": (subject.shared, SHORT)}
    if initial:
        tries = {"initial": (subject.model(dtype=torch.float32), subject.context), **tries}
    asked = [_to_step(subject, model, length) for model, length in tries.values()]
    for (state, (_, length)), step in zip(tries.items(), subject.all_of(asked), strict=True):
        wrong = _fault(subject, step, state, length)
        if wrong is not None:
            yield wrong
            return
    reached = Reached(subject)
    reached.note(step.reached)
    for salt, length in enumerate(_further(subject), start=10):
        if reached.decided():
            break
        # A router has its favourites: with other parameters it has others.
        model = subject.model(noise=subject.noise, salt=salt)
        asked = [_to_step(subject, model, length, max(2, _MANY // length), salt)]
        reached.note(next(subject.all_of(asked)).reached)
    yield from reached.findings()


def _further(subject: Subject) -> list[int]:
    """Return the lengths of further tries: the longest, the context, and then short ones."""
    long = list(dict.fromkeys((subject.context, subject.longest)))
    return [*long, *[min(subject.context, 4 * SHORT)] * (_TRIES - len(long))]


def check_reach(subject: Subject) -> Iterator[Finding]:
    """`unit.unreached`: a unit that is built in the blocks, and called in none."""
    model = subject.shared.eval()
    how = {"seed": 0, "gradient": False, "wide": False}
    answer, _ = subject.candidate.of(model, "calls", subject.tokens(1, SHORT), **how)
    units = rows(answer, "units", str, str, bool)
    reached = {in_block(name) for name, _, called in units if called}
    inside = {in_block(name): unit for name, unit, _ in reversed(units)}
    for inner in dict.fromkeys(in_block(name) for name, _, _ in units):
        if inner not in reached:
            place = subject.source.place_of_class(inside[inner])
            text = f"The unit at {inner!r} is never called."
            yield finding("unit.unreached", text, {"path": inner}, place=place, severity="warning")


@dataclass(frozen=True)
class _Step:
    """The gradient of a training step: for the embedded tokens, and for each parameter."""

    model: Model
    inputs: Tensor | None
    parameters: tuple[Tensor | None, ...]

    @property
    def reached(self) -> dict[str, bool]:
        """Which of the parameters that are to be trained a gradient reaches."""
        pairs = zip(self.model.parameters, self.parameters, strict=True)
        return {p.name: _is_there(gradient) for p, gradient in pairs if p.trainable}


def _to_step(
    subject: Subject, model: Model, length: int, rows: int = 2, salt: int = 2
) -> Asking[_Step]:
    """Ask for one training step's gradient."""
    tokens = subject.tokens(rows, length + 1, salt)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    question = subject.candidate.to_ask(model.train(), "step", inputs, targets)

    def read(answer: dict[str, Any], made: Sequence[Tensor]) -> _Step:
        slope, *parameters = found(answer, made, 1 + len(model.parameters))
        return _Step(model, slope, tuple(parameters))

    return Asking(question, read)


def _fault(subject: Subject, step: _Step, state: str, length: int) -> Finding | None:
    """Return `gradient.nonfinite` or `gradient.blocked` where a step's gradient is so."""
    pairs = zip(step.model.parameters, step.parameters, strict=True)
    bad = [p.name for p, gradient in pairs if gradient is not None and not _finite(gradient)]
    if bad:
        place = origin_of_nan(subject, step.model, length)
        text = f"The gradient of {bad[-1]!r} and others is NaN or infinite."
        evidence: dict[str, Evidence] = {"parameters": state, "count": len(bad)}
        return finding("gradient.nonfinite", text, evidence, place=place)
    if not _is_there(step.inputs):
        return finding("gradient.blocked", "The loss has no gradient for the blocks' input.", {})
    return None


def origin_of_nan(subject: Subject, model: Model, length: int) -> Place:
    """Return the line whose derivative is NaN, as PyTorch's anomaly mode tells it."""
    tokens = subject.tokens(2, length + 1)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    answer, _ = subject.candidate.of(model.train(), "origin_of_nan", inputs, targets)
    _, line = subject.source.checked_place(None, answer.get("line"))
    return subject.source.place_of_line(line)


def _is_there(gradient: Tensor | None) -> bool:
    return gradient is not None and gradient.numel() > 0 and float(gradient.abs().max()) > 0


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
