"""The loss reaches every parameter and every unit, with finite gradients."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesys_engine.gab.checks.numbers import start_generator
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import Place
from genesys_engine.gab.checks.subject import VOCABULARY, Subject

_LENGTH = 31


def check_gradient(subject: Subject) -> Iterator[Finding]:
    """`gradient.nonfinite`, `gradient.blocked`, `gradient.missing` and `gradient.partial`.

    Whether a gradient arrives is asked with moved parameters: behind a gate that starts at
    zero it is zero at first, and rightly so.  A parameter may be idle in some blocks (a first
    block that reads nothing yet), but not in all.
    """
    yield from _gradients(
        subject,
        (
            ("initial", subject.model(dtype=torch.float32), subject.long),
            ("moved", subject.shared, _LENGTH),
        ),
    )


def check_gradient_fast(subject: Subject) -> Iterator[Finding]:
    """The same with moved parameters only."""
    yield from _gradients(subject, (("moved", subject.shared, _LENGTH),))


def _gradients(
    subject: Subject, cases: tuple[tuple[str, nn.Module, int], ...]
) -> Iterator[Finding]:
    for state, model, length in cases:
        model.zero_grad(set_to_none=True)
        inputs = _backward(subject, model, length)
        bad = [n for n, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)]
        if bad:
            place = origin_of_nan(subject, model, length)
            text = f"The gradient of {bad[-1]!r} and others is NaN or infinite."
            evidence: dict[str, Evidence] = {"parameters": state, "count": len(bad)}
            yield finding("gradient.nonfinite", text, evidence, place=place)
            return
    if inputs is None or inputs.grad is None or not float(inputs.grad.abs().max()) > 0:
        yield finding("gradient.blocked", "The loss has no gradient for the blocks' input.", {})
        return
    yield from _missing(subject, model)


def check_reach(subject: Subject) -> Iterator[Finding]:
    """`unit.unreached`: a unit that is built in the blocks, and called in none."""
    model = subject.shared.eval()
    called: set[int] = set()
    units = {
        name: module for name, module in model.named_modules() if subject.source.is_unit(module)
    }
    handles = [
        module.register_forward_hook(lambda m, *_: called.add(id(m))) for module in units.values()
    ]
    subject.run(model, subject.tokens(1, _LENGTH))
    for handle in handles:
        handle.remove()
    reached = {_in_block(subject, model, n) for n, module in units.items() if id(module) in called}
    for inner in dict.fromkeys(_in_block(subject, model, name) for name in units):
        if inner not in reached:
            name = next(n for n in units if _in_block(subject, model, n) == inner)
            place = subject.source.place_of_class(units[name])
            text = f"The unit at {inner!r} is never called."
            yield finding("unit.unreached", text, {"path": inner}, place=place, severity="warning")


def _backward(subject: Subject, model: nn.Module, length: int) -> Tensor | None:
    """Take one training step's gradient; return the blocks' input."""
    model.train()
    tokens = subject.tokens(2, length + 1)
    start_generator(0)
    with subject.inputs_of_blocks(model) as caught:
        logits = model(tokens[:, :-1])
    loss = functional.cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
    loss.backward()  # type: ignore[no-untyped-call]
    return caught[0] if caught else None


def origin_of_nan(subject: Subject, model: nn.Module, length: int) -> Place:
    """Return the line whose derivative is NaN, as PyTorch's anomaly mode tells it."""
    with warnings.catch_warnings(record=True) as told, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        with contextlib.suppress(RuntimeError):
            _backward(subject, model, length)
    text = "".join(str(warning.message) for warning in told)
    lines = [
        int(line)
        for file, line in re.findall(r'File "([^"]+)", line (\d+)', text)
        if subject.source.is_ours(file)
    ]
    return subject.source.place_of_line(lines[-1] if lines else None)


def _missing(subject: Subject, model: nn.Module) -> Iterator[Finding]:
    arrives: dict[str, list[str]] = {}
    idle: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            there = parameter.grad is not None and float(parameter.grad.abs().max()) > 0
            (arrives if there else idle).setdefault(_in_block(subject, model, name), []).append(
                name
            )
    for inner, names in idle.items():
        place = subject.source.place_of_parameter(model, names[0])
        evidence: dict[str, Evidence] = {"parameter": inner, "blocks": len(names)}
        if inner in arrives:
            text = f"The parameter {inner!r} gets no gradient in some blocks ({names[0]!r})."
            yield finding("gradient.partial", text, evidence, place=place, severity="warning")
        else:
            text = f"The parameter {inner!r} gets no gradient."
            yield finding("gradient.missing", text, evidence, place=place)


def _in_block(subject: Subject, model: nn.Module, name: str) -> str:
    """Return the name inside its block, so that all blocks' namesakes are one."""
    parts = name.split(".")
    module = model
    for i, part in enumerate(parts):
        if isinstance(module, subject.block_class):
            return ".".join(parts[i:])
        module = getattr(module, part)
    return "" if isinstance(module, subject.block_class) else name


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
