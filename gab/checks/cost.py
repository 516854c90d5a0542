"""What a block costs: counted, and so the same on every machine, or timed beside a reference.

Operations and bytes are counted at two lengths; their growth tells a loop over time from a
parallel form, and a square from a cube.  Seconds are facts of the machine: they are given as
ratios to a reference block measured in the same process, beside the report and never in it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genesys_engine.gab.checks.flops import OperationCounter, device_bound
from genesys_engine.gab.checks.numbers import start_generator
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.subject import Subject
from genesys_engine.gab.meta import on_meta

_SHORT = 64  # calls are counted at this length and at twice it
# Operations too, where the block works without a loop over time: narrow, so that what grows with
# the length shows beside the products that grow with the width.
_LONG, _NARROW = 256, 64
# Calls for each further token: a scan in chunks makes fewer.
LOOP = 4.0
# Exponents of the growth with length.
QUADRATIC_LOOP = 1.4
CUBIC = 2.3
RATIO = 10.0  # times the reference: worth a warning
_REPEATS = 2


@dataclass(frozen=True)
class Cost:
    """Operations (flops) and calls of one forward pass of one sequence of `length` tokens."""

    length: int
    operations: int
    calls: int


def count_cost(block_class: type[nn.Module], width: int, length: int) -> Cost:
    """Count one block's forward pass.

    The CPU computes it in a fraction of the time that the meta device's Python takes to trace it.
    """
    start_generator(0)
    block = block_class(width, (0, 2)).eval()
    X = torch.zeros(1, length, width)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), OperationCounter() as counter:
        block(X)
    return Cost(length, counter.operations, counter.calls)


def _run_without_values(block_class: type[nn.Module], width: int, length: int) -> None:
    """Run one block on the meta device, as large scales are counted."""
    block = block_class(width, (0, 2), device="meta").eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        block(torch.zeros(1, length, width, device="meta"))


def saved_bytes(block_class: type[nn.Module], width: int, length: int) -> int:
    """Return the bytes that one sequence's forward pass keeps for its backward pass (fp32)."""
    start_generator(0)
    block = block_class(width, (0, 2))
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    sizes: dict[int, int] = {}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # alive, so that no address is given out twice
        return tensor

    X = torch.zeros(1, length, width).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Y = block(X)[0]
    del Y
    return sum(sizes.values())


def check_cost(
    subject: Subject, measurements: dict[str, Any], reference: type[nn.Module] | None
) -> Iterator[Finding]:
    """`cost.loop`, `cost.growth` and, with a reference, `cost.flops` and `cost.memory`.

    Fills `measurements["cost"]`.
    """
    kind, width = subject.block_class, subject.width
    cost = measurements["cost"] = {}
    double = yield from _growth(subject, cost)
    cost["saved_bytes_per_token"] = saved_bytes(kind, width, subject.context) / subject.context
    if reference is not None:
        other = count_cost(reference, width, double.length)
        kept = saved_bytes(reference, width, subject.context) / subject.context
        cost["operations_ratio"] = round(double.operations / other.operations, 3)
        cost["memory_ratio"] = round(cost["saved_bytes_per_token"] / kept, 3)
        yield from _expensive(cost, subject.source.place_of_class(subject.block()))


def check_growth_with_length(subject: Subject) -> Iterator[Finding]:
    """The errors among them: `cost.quadratic_loop` and `cost.growth`."""
    for found in _growth(subject, {}):
        if found.severity == "error":
            yield found


def _growth(subject: Subject, cost: dict[str, Any]) -> Generator[Finding, None, Cost]:
    """Count calls and operations at two lengths into `cost`; return the longer one's."""
    kind, width = subject.block_class, subject.width
    short, double = (count_cost(kind, width, length) for length in (_SHORT, 2 * _SHORT))
    calls = _exponent(short.calls, double.calls)
    looping = not (double.calls - short.calls) / _SHORT <= LOOP
    place = subject.source.place_of_class(subject.block())
    try:
        on_meta(partial(_run_without_values, kind, width, _SHORT))
    except Exception as error:
        yield device_bound(subject.source, error, {"length": _SHORT})
    if looping:
        yield _loop(short, double, calls, place)
    pair = short, double
    if not looping:
        narrow = min(width, _NARROW)
        pair = count_cost(kind, narrow, _LONG), count_cost(kind, narrow, 2 * _LONG)
    growth = _exponent(pair[0].operations, pair[1].operations)
    if not growth <= CUBIC:
        evidence: dict[str, Evidence] = {"length": pair[1].length, "exponent": round(growth, 2)}
        text = f"The operations grow with length to the power of {growth:.2f}."
        yield finding("cost.growth", text, evidence, place=place)
    cost["operations_per_token"] = double.operations / double.length
    cost["operations_exponent"] = round(growth, 3)
    cost["calls"] = double.calls
    cost["calls_exponent"] = round(calls, 3)
    return double


def _loop(short: Cost, double: Cost, exponent: float, place: Any) -> Finding:
    quadratic = not exponent <= QUADRATIC_LOOP
    text = f"{double.length} tokens take {double.calls:,} calls of PyTorch, "
    text += f"{short.length} take {short.calls:,}."
    evidence: dict[str, Evidence] = {"calls": double.calls, "exponent": round(exponent, 2)}
    code = "cost.quadratic_loop" if quadratic else "cost.loop"
    return finding(code, text, evidence, place=place, severity="error" if quadratic else "warning")


def _expensive(cost: dict[str, Any], place: Any) -> Iterator[Finding]:
    for code, name, what in (
        ("cost.flops", "operations_ratio", "operations"),
        ("cost.memory", "memory_ratio", "bytes kept for the backward pass"),
    ):
        if not cost[name] <= RATIO:
            text = f"{cost[name]:.1f} times the {what} of the reference."
            yield finding(code, text, {"ratio": cost[name]}, place=place, severity="warning")


def time_beside(
    subject: Subject, reference: type[nn.Module]
) -> tuple[dict[str, float], list[Finding]]:
    """Return the facts `seconds`, `time_ratio` and `time_exponent`, and `cost.slow` if due.

    Forward and backward of a block at the training context, the better of two runs, and at twice
    it, which finds everything warm.  Facts of this machine: for a person's eyes, not for a
    decision or an event log.
    """
    lengths = subject.context, 2 * subject.context
    own = [
        _seconds(subject.block_class, subject.width, length, repeats)
        for length, repeats in zip(lengths, (_REPEATS, 1), strict=True)
    ]
    other = _seconds(reference, subject.width, lengths[0], _REPEATS)
    facts = {
        "seconds": own[0],
        "time_ratio": own[0] / other,
        "time_exponent": math.log2(own[1] / own[0]),
    }
    if facts["time_ratio"] <= RATIO:
        return facts, []
    text = f"A step takes {facts['time_ratio']:.1f} times as long as the reference's, here."
    place = subject.source.place_of_class(subject.block())
    evidence: dict[str, Evidence] = {"ratio": round(facts["time_ratio"], 2)}
    return facts, [finding("cost.slow", text, evidence, place=place, severity="warning")]


def _seconds(block_class: type[nn.Module], width: int, length: int, repeats: int) -> float:
    start_generator(0)
    block = block_class(width, (0, 2))
    X = torch.randn(1, length, width).requires_grad_()
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        block(X)[0].sum().backward()
        best = min(best, time.perf_counter() - started)
    return best


def _exponent(short: float, double: float) -> float:
    return math.log2(max(double, 1) / max(short, 1))
