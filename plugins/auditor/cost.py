"""What a block costs: counted, and so the same on every machine, or timed next to a reference.

Operations and bytes are counted at two lengths; their growth tells a loop over time from a
parallel form, and a square from a cube.  Seconds are facts of the machine: they are given as
ratios to a reference block measured on the same machine, next to the report and never in it.

Only the block's own process can count what it does, so a count is its word: no smaller than what
it must have written, and no reason to let anything pass but a warning.  Seconds are measured here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.layers import read_layers, structure_of
from genesys_engine.gab.raised import Raised
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.auditor.candidate import number
from genesys_engine.plugins.auditor.flops import (
    Cost,
    count_cost,
    forward_and_backward,
    saved_bytes,
    stack,
)
from genesys_engine.plugins.auditor.subject import BLOCKS, Subject
from genesys_engine.plugins.sandbox.subject import Question, SubjectRaised

_SHORT = 64  # calls are counted at this length and at twice it
# Operations too, where the block works without a loop over time: narrow, so that what grows with
# the length shows next to the products that grow with the width.
_LONG, _NARROW = 256, 64
# Calls for each further token: a scan in chunks makes fewer.
LOOP = 4.0
# Exponents of the growth with length.
QUADRATIC_LOOP = 1.4
CUBIC = 2.3
RATIO = 10.0  # times the reference: worth a warning
_REPEATS = 2


def check_cost(
    subject: Subject, measurements: dict[str, Any], reference: type[nn.Module] | None
) -> Iterator[Finding]:
    """`cost.loop`, `cost.growth` and, with a reference, `cost.flops` and `cost.memory`.

    The reference is of our own library, and runs here.  Fills `measurements["cost"]`.
    """
    width, context = subject.width, subject.context
    cost = measurements["cost"] = {}
    double = yield from _growth(subject, cost)
    answer, _ = subject.candidate.ask("saved", width=width, length=context, blocks=subject.stacked)
    cost["saved_bytes_per_token"] = number(answer, "bytes") / context
    if reference is not None:
        layers = _stacked(reference)
        other = count_cost(reference, width, double.length, layers)
        kept = saved_bytes(reference, width, context, layers) / context
        cost["operations_ratio"] = round(double.operations / other.operations, 3)
        cost["memory_ratio"] = round(cost["saved_bytes_per_token"] / kept, 3)
        yield from _expensive(cost, subject.place_of(subject.block()))


def check_growth_with_length(subject: Subject) -> Iterator[Finding]:
    """The errors among them: `cost.quadratic_loop` and `cost.growth`."""
    for found in _growth(subject, {}):
        if found.severity == "error":
            yield found


def _growth(subject: Subject, cost: dict[str, Any]) -> Generator[Finding, None, Cost]:
    """Count calls and operations at two lengths into `cost`; return the longer one's."""
    width = subject.width
    short, double = counted(subject, width, (_SHORT, 2 * _SHORT))
    calls = _exponent(short.calls, double.calls)
    looping = not (double.calls - short.calls) / _SHORT <= LOOP
    place = subject.place_of(subject.block())
    try:
        blocks = subject.stacked
        subject.candidate.ask("run_without_values", width=width, length=_SHORT, blocks=blocks)
    except SubjectRaised as error:
        yield device_bound(subject.source, error.raised, {"length": _SHORT})
    if looping:
        yield _loop(short, double, calls, place)
    pair = short, double
    if not looping:
        narrow = min(width, _NARROW)
        pair = counted(subject, narrow, (_LONG, 2 * _LONG))
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


def counted(subject: Subject, width: int, lengths: tuple[int, int]) -> tuple[Cost, Cost]:
    """Return what a block's forward pass takes at two lengths, as its process counts it.

    Where layers differ, it is their mean.
    """
    how = {"width": width, "blocks": subject.stacked}
    questions = [Question("cost", {**how, "length": length}) for length in lengths]

    def read(length: int, answer: dict[str, Any]) -> Cost:
        least = length * width  # it has written its output
        return Cost(length, max(least, number(answer, "operations")), number(answer, "calls"))

    replies = zip(lengths, subject.candidate.ask_all(questions), strict=True)
    short, long = (read(length, answer) for length, (answer, _) in replies)
    return short, long


def flops_per_token(subject: Subject, config: ModelConfig, device: str = "meta") -> float:
    """Return the operations of one forward pass of a whole model, per token, counted there.

    Raises:
        SubjectRaised: the block raises; on the meta device also where it reads values.
    """
    answer, _ = subject.candidate.ask("flops", config=asdict(config), device=device)
    value, least = answer.get("flops"), 2.0 * config.d_model * config.vocab_size  # the head alone
    return max(least, value) if isinstance(value, int | float) else least


def device_bound(source: SourceMap, error: Raised, evidence: Mapping[str, Evidence]) -> Finding:
    """Return the warning `device.bound`: the block raised `error` on the meta device."""
    place = source.place_of_error(error)
    text = f"forward fails on the meta device: {error}"[:1000]
    return finding("device.bound", text, evidence, place=place, severity="warning")


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


def time_against(
    subject: Subject, reference: type[nn.Module]
) -> tuple[dict[str, float], list[Finding]]:
    """Return the facts `seconds`, `time_ratio` and `time_exponent`, and `cost.slow` if due.

    Forward and backward of a block at the training context, the better of two runs, and at twice
    it, which finds everything warm.  Facts of this machine: for a person's eyes, not for a
    decision or an event log.
    """
    lengths = subject.context, 2 * subject.context
    own = [
        _seconds(_there(subject, length), repeats) / subject.stacked
        for length, repeats in zip(lengths, (_REPEATS, 1), strict=True)
    ]
    layers = _stacked(reference)
    other = _seconds(_here(reference, subject, lengths[0], layers), _REPEATS) / layers
    facts = {
        "seconds": own[0],
        "time_ratio": own[0] / other,
        "time_exponent": math.log2(own[1] / own[0]),
    }
    if facts["time_ratio"] <= RATIO:
        return facts, []
    text = f"A step takes {facts['time_ratio']:.1f} times as long as the reference's, here."
    place = subject.place_of(subject.block())
    evidence: dict[str, Evidence] = {"ratio": round(facts["time_ratio"], 2)}
    return facts, [finding("cost.slow", text, evidence, place=place, severity="warning")]


def _there(subject: Subject, length: int) -> Callable[[], object]:
    """Return what has the candidate's blocks take a step."""
    blocks, X = subject.stack(torch.float32), _input(subject, length)
    subject.candidate.settle()  # what is timed is the step alone

    def step() -> None:  # which holds the blocks: they are let go there with the last reference
        numbers = [block.number for block in blocks]
        subject.candidate.ask("forward_and_backward", X, models=numbers)

    return step


def _here(
    reference: type[nn.Module], subject: Subject, length: int, layers: int
) -> Callable[[], object]:
    """Return what has so many layers of the reference take a step, in this process."""
    blocks = [block.train() for block in stack(reference, subject.width, layers)]
    return partial(forward_and_backward, blocks, _input(subject, length))


def _stacked(reference: type[nn.Module]) -> int:
    """Return how many blocks of the reference stand for all."""
    layers = read_layers(partial(structure_of, reference))
    return layers.whole(BLOCKS) if layers.differ else 1


def _input(subject: Subject, length: int) -> Tensor:
    return torch.randn(1, length, subject.width, generator=subject.generator(9))


def _seconds(step: Callable[[], object], repeats: int) -> float:
    """Return the seconds of a step, the best of some."""
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - started)
    return best


def _exponent(short: float, double: float) -> float:
    return math.log2(max(double, 1) / max(short, 1))
