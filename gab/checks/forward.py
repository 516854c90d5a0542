"""Shape, dtype, finite values, no state, no randomness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks import blame
from genesys_engine.gab.checks.memory import kept
from genesys_engine.gab.checks.numbers import EQUAL, difference, worst
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import Place
from genesys_engine.gab.checks.subject import Subject

_LENGTH = 31


def check_parameters(subject: Subject) -> Iterator[Finding]:
    """`parameters.none`: nothing to train."""
    if not sum(p.numel() for p in subject.block().parameters() if p.requires_grad):
        yield finding("parameters.none", "The block has no trainable parameter.", {"parameters": 0})


def check_shapes(subject: Subject) -> Iterator[Finding]:
    """`forward.error`, `reply.wrong`, `shape.wrong`, `dtype.wrong` at several lengths."""
    cases = [(torch.float32, length) for length in subject.lengths] + [(torch.float64, _LENGTH)]
    yield from _shapes(subject, dict.fromkeys(cases))


def check_shapes_fast(subject: Subject) -> Iterator[Finding]:
    """The same at two lengths."""
    yield from _shapes(subject, [(torch.float32, 1), (torch.float64, _LENGTH)])


def _shapes(subject: Subject, cases: Iterable[tuple[torch.dtype, int]]) -> Iterator[Finding]:
    blocks: dict[torch.dtype, nn.Module] = {}  # to build one costs as much as to run it
    for dtype, length in cases:
        if dtype not in blocks:
            blocks[dtype] = subject.block(dtype=dtype).eval()
        block = blocks[dtype]
        X = torch.randn(2, length, subject.width, generator=subject.generator(length), dtype=dtype)
        evidence: dict[str, Evidence] = {
            "length": length,
            "dtype": str(dtype).removeprefix("torch."),
        }
        try:
            with torch.no_grad():
                reply = block(X)
        except Exception as error:
            yield subject.source.fault("forward.error", error, evidence)
            return
        fault = _fault_of_reply(reply, X)
        if fault is not None:
            code, text = fault
            yield finding(code, text, evidence, place=subject.source.place_of_class(block))
            return


def _fault_of_reply(reply: Any, X: Tensor) -> tuple[str, str] | None:
    if not isinstance(reply, tuple) or len(reply) != 2 or not isinstance(reply[1], Mapping):
        return "reply.wrong", f"forward returned {type(reply).__name__}, not a pair (X, Z)."
    Y = reply[0]
    if type(Y) is not Tensor:  # a subclass could answer for itself in every comparison
        return "reply.wrong", f"forward returned a {type(Y).__name__} in the place of X."
    if Y.shape != X.shape:
        return "shape.wrong", f"The input was {tuple(X.shape)}, the output is {tuple(Y.shape)}."
    if Y.dtype != X.dtype:
        return "dtype.wrong", f"The input was {X.dtype}, the output is {Y.dtype}."
    return None


def check_finite(subject: Subject) -> Iterator[Finding]:
    """`output.nonfinite`: as trained (fp32, initial) and with moved parameters (fp64)."""
    models = {"initial": subject.model(dtype=torch.float32)}
    if not subject.noise:  # else they were moved so far that outputs stay finite
        models["moved"] = subject.opened()
    for state, model in models.items():
        for length in (_LENGTH, subject.context):
            tokens = subject.tokens(1, length)
            output = subject.run(model.eval(), tokens)
            bad = int((~torch.isfinite(output)).sum())
            if bad:
                text = f"{bad} of {output.numel()} outputs are NaN or infinite."
                place = blame.first_nonfinite(subject.trace(model, tokens))
                evidence: dict[str, Evidence] = {"length": length, "parameters": state, "bad": bad}
                yield finding("output.nonfinite", text, evidence, place=place)
                return


def check_repeatable(subject: Subject) -> Iterator[Finding]:
    """`state.kept` and `determinism.random`: equal inputs give equal outputs, call after call."""
    tokens, others = subject.tokens(2, _LENGTH), subject.tokens(3, 9, salt=5)
    model = subject.opened()
    for mode in ("eval", "train"):
        model.train(mode == "train")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        first = subject.run(model, tokens)
        settled = kept(model, subject.block_class.__module__)
        again = subject.run(model, tokens)
        later = kept(model, subject.block_class.__module__)
        subject.run(model, others)
        last = subject.run(model, tokens)
        change = worst((difference(first, again), difference(first, last)))
        changed = [n for n, value in model.state_dict().items() if not _same(value, before[n])]
        if not change <= EQUAL:
            subject.run(model, tokens)
            one = subject.trace(model, tokens)
            subject.run(model, others)  # a state that settles would be as it was
            two = subject.trace(model, tokens)
            place = blame.first_different((one, two), (blame.whole, blame.whole), EQUAL)
            text = "The same input gives another output after other calls."
            yield finding("state.kept", text, {"mode": mode, "change": change}, place=place)
            return
        counted = [n for n in settled.keys() | later if settled.get(n) != later.get(n)]
        if counted and mode == "eval":
            name = min(counted)
            text = f"The same call twice changes {name!r}, so a third may compute something else."
            yield finding("state.kept", text, {"mode": mode, "kept": name})
            return
        if changed and mode == "eval":
            place = subject.source.place_of_parameter(model, changed[0])
            text = f"A call in eval mode changes {changed[0]!r}."
            yield finding("state.kept", text, {"mode": mode, "tensor": changed[0]}, place=place)
            return
        if mode == "eval" and not (
            (change := worst([difference(first, subject.run(model, tokens, seed=1))])) <= EQUAL
        ):
            place = _unit_that_differs(subject, model, tokens, seeds=(0, 1))
            text = "In eval mode the output depends on the random generator."
            yield finding("determinism.random", text, {"change": change}, place=place)
            return


def _unit_that_differs(
    subject: Subject, model: nn.Module, tokens: Tensor, seeds: tuple[int, int]
) -> Place:
    runs = (
        subject.trace(model, tokens, seed=seeds[0]),
        subject.trace(model, tokens, seed=seeds[1]),
    )
    return blame.first_different(runs, (blame.whole, blame.whole), EQUAL)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())
