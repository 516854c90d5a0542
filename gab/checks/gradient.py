"""The loss reaches every parameter and every unit, with finite gradients."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesys_engine.gab.checks.lengths import SHORT
from genesys_engine.gab.checks.numbers import start_generator
from genesys_engine.gab.checks.reach import Reached, in_block
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import Place
from genesys_engine.gab.checks.subject import VOCABULARY, Subject

# Inputs and parameters that are drawn before it is said that no gradient arrives: of 64 experts,
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
    initial = subject.model(dtype=torch.float32)
    found = _nonfinite(subject, initial, "initial", subject.context)
    if found is not None:
        yield found
        return
    yield from check_gradient_fast(subject)


def check_gradient_fast(subject: Subject) -> Iterator[Finding]:
    """The same with moved parameters only."""
    model = subject.shared
    found = _nonfinite(subject, model, "moved", SHORT)
    if found is not None:
        yield found
        return
    reached = Reached(subject)
    reached.note(model)
    for salt, length in enumerate(_further(subject), start=10):
        if reached.decided():
            break
        # A router has its favourites: with other parameters it has others.
        model = subject.model(noise=subject.noise, salt=salt)
        _backward(subject, model, length, max(2, _MANY // length), salt)
        reached.note(model)
    yield from reached.findings()


def _further(subject: Subject) -> list[int]:
    """Return the lengths of further tries: the longest, the context, and then short ones."""
    long = list(dict.fromkeys((subject.context, subject.longest)))
    return [*long, *[min(subject.context, 4 * SHORT)] * (_TRIES - len(long))]


def _nonfinite(subject: Subject, model: nn.Module, state: str, length: int) -> Finding | None:
    """Take a step's gradient: `gradient.nonfinite` and `gradient.blocked`."""
    inputs = _backward(subject, model, length)
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)]
    if bad:
        place = origin_of_nan(subject, model, length)
        text = f"The gradient of {bad[-1]!r} and others is NaN or infinite."
        evidence: dict[str, Evidence] = {"parameters": state, "count": len(bad)}
        return finding("gradient.nonfinite", text, evidence, place=place)
    if inputs is None or inputs.grad is None or not float(inputs.grad.abs().max()) > 0:
        return finding("gradient.blocked", "The loss has no gradient for the blocks' input.", {})
    return None


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
    subject.run(model, subject.tokens(1, SHORT))
    for handle in handles:
        handle.remove()
    reached = {in_block(subject, model, n) for n, module in units.items() if id(module) in called}
    for inner in dict.fromkeys(in_block(subject, model, name) for name in units):
        if inner not in reached:
            name = next(n for n in units if in_block(subject, model, n) == inner)
            place = subject.source.place_of_class(units[name])
            text = f"The unit at {inner!r} is never called."
            yield finding("unit.unreached", text, {"path": inner}, place=place, severity="warning")


def _backward(
    subject: Subject, model: nn.Module, length: int, rows: int = 2, salt: int = 2
) -> Tensor | None:
    """Take one training step's gradient; return the blocks' input."""
    model.train().zero_grad(set_to_none=True)
    tokens = subject.tokens(rows, length + 1, salt)
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


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
