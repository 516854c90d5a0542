"""Shape, dtype, finite values, no state, no randomness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import Place
from genesys_engine.gab.checks.trace import Trace
from genesys_engine.plugins.auditor.candidate import Asking, Model, names, only, silent, text
from genesys_engine.plugins.auditor.numbers import EQUAL, difference, worst
from genesys_engine.plugins.auditor.subject import WHOLE, Subject
from genesys_engine.plugins.sandbox.subject import Reply, SubjectRaised

_LENGTH = 31
_SEEDS = 32  # that a block which draws in eval mode is run from


def check_parameters(subject: Subject) -> Iterator[Finding]:
    """`parameters.none`: nothing to train."""
    blocks = subject.each_kind()
    if not sum(p.count for block in blocks for p in block.parameters if p.trainable):
        yield finding("parameters.none", "The block has no trainable parameter.", {"parameters": 0})


def check_shapes(subject: Subject) -> Iterator[Finding]:
    """`forward.error`, `reply.wrong`, `shape.wrong`, `dtype.wrong` at several lengths."""
    cases = [(torch.float32, length) for length in subject.lengths] + [(torch.float64, _LENGTH)]
    yield from _shapes(subject, dict.fromkeys(cases))


def check_shapes_fast(subject: Subject) -> Iterator[Finding]:
    """The same at two lengths."""
    yield from _shapes(subject, [(torch.float32, 1), (torch.float64, _LENGTH)])


def _shapes(subject: Subject, cases: Iterable[tuple[torch.dtype, int]]) -> Iterator[Finding]:
    blocks: dict[torch.dtype, list[Model]] = {}  # to build one costs as much as to run it
    asked = []
    for dtype, length in cases:
        if dtype not in blocks:
            blocks[dtype] = [block.eval() for block in subject.each_kind(dtype)]
        X = torch.randn(2, length, subject.width, generator=subject.generator(length), dtype=dtype)
        asked += [(block, X) for block in blocks[dtype]]
    questions = [subject.candidate.to_ask(block, "reply", X, seed=0) for block, X in asked]
    replies = subject.candidate.ask_all(questions)
    for block, X in asked:
        fault = _shape_fault(subject, block, X, replies)
        if fault is not None:
            yield fault
            return


def _shape_fault(
    subject: Subject, block: Model, X: Tensor, replies: Iterator[Reply]
) -> Finding | None:
    """Return what is wrong with the next reply, that of a block to an input."""
    dtype = str(X.dtype).removeprefix("torch.")
    evidence: dict[str, Evidence] = {"length": X.shape[1], "dtype": dtype}
    try:
        reply, made = next(replies)
    except SubjectRaised as error:
        found = subject.source.fault("forward.error", error.raised, evidence)
        calls = subject.departure(block, X)
        if not calls:
            return found
        return replace(found, trace=replace(found.trace or Trace(), returned=calls[-1]))
    fault = _fault_of_reply(reply, made, X)
    if fault is None:
        return None
    code, message = fault
    calls = subject.departure(block, X)
    place = (calls[-1].unit, calls[-1].line) if calls else subject.place_of(block)
    return finding(code, message, evidence, place=place, trace=Trace(calls))


def _fault_of_reply(
    reply: dict[str, Any], made: Sequence[Tensor], X: Tensor
) -> tuple[str, str] | None:
    """Return what is wrong with a reply: that it is right takes the tensor itself to believe."""
    if not reply.get("pair"):
        return "reply.wrong", f"forward returned {text(reply, 'kind')}, not a pair (X, Z)."
    if not reply.get("tensor"):
        return "reply.wrong", f"forward returned a {text(reply, 'kind')} in the place of X."
    shape, dtype = reply.get("shape"), f"torch.{text(reply, 'dtype')}"
    if made:
        shape, dtype = list(made[0].shape), str(made[0].dtype)
    if shape != list(X.shape):
        return "shape.wrong", f"The input was {tuple(X.shape)}, the output is {_shape(shape)}."
    if dtype != str(X.dtype):
        return "dtype.wrong", f"The input was {X.dtype}, the output is {dtype}."
    only(made)
    return None


def _shape(message: Any) -> tuple[int, ...]:
    known = isinstance(message, list) and all(type(extent) is int for extent in message)
    return tuple(message[:16]) if known else ()


def check_finite(subject: Subject) -> Iterator[Finding]:
    """`output.nonfinite`: as trained (fp32, initial) and with moved parameters (fp64)."""
    models = {"initial": subject.model(dtype=torch.float32)}
    if not subject.noise:  # else they were moved so far that outputs stay finite
        models["moved"] = subject.opened()
    for state, model in models.items():
        inputs = [subject.tokens(1, length) for length in (_LENGTH, subject.context)]
        outputs = subject.all_of([subject.to_run(model.eval(), tokens) for tokens in inputs])
        for tokens, output in zip(inputs, outputs, strict=True):
            bad = int((~torch.isfinite(output)).sum())
            if bad:
                message = f"{bad} of {output.numel()} outputs are NaN or infinite."
                place = subject.first_nonfinite(subject.trace(model, tokens))
                evidence: dict[str, Evidence] = {"length": tokens.shape[1], "parameters": state}
                evidence |= {"bad": bad}
                yield finding("output.nonfinite", message, evidence, place=place)
                return


def check_repeatable(subject: Subject) -> Iterator[Finding]:
    """`state.kept` and `determinism.random`: equal inputs give equal outputs, call after call."""
    model = subject.opened()
    for mode in (False, True):
        found = _unlike(subject, model.train(mode))
        if found is not None:
            yield found
            return


def _unlike(subject: Subject, model: Model) -> Finding | None:
    """Run the same again, and again after something else; look for what is kept meanwhile."""
    tokens, others = subject.tokens(2, _LENGTH), subject.tokens(3, 9, salt=5)
    run: Asking[Any] = subject.to_try(model, tokens)
    between = subject.to_run(model, others)
    counted, changed = [], []
    if model.training:
        (first, drew), (again, _), _, (last, _) = subject.all_of([run, run, between, run])
    else:
        before, settled = subject.candidate.new_number(), subject.candidate.new_number()
        note, look = partial(_to_note, subject, model), partial(_to_see, subject, model)
        asked: list[Asking[Any]]
        asked = [note(before), run, note(settled), run, look(settled, "kept"), between, run]
        replies = subject.all_of([*asked, look(before, "tensors")])
        _, (first, drew), _, (again, _), counted, _, (last, _), changed = replies
    change = worst((difference(first, again), difference(first, last)))
    mode = "train" if model.training else "eval"
    if not change <= EQUAL:
        place = _what_remembers(subject, model, tokens, others)
        message = "The same input gives another output after other calls."
        return finding("state.kept", message, {"mode": mode, "change": change}, place=place)
    if model.training:
        return None
    if counted:
        message = (
            f"The same call twice changes {counted[0]!r}, so a third may compute something else."
        )
        return finding("state.kept", message, {"mode": mode, "kept": counted[0]})
    if changed:
        place = subject.place_of_parameter(model, changed[0])
        message = f"A call in eval mode changes {changed[0]!r}."
        return finding("state.kept", message, {"mode": mode, "tensor": changed[0]}, place=place)
    return _random(subject, model, tokens, first, drew=drew)


def _random(
    subject: Subject, model: Model, tokens: Tensor, first: Tensor, *, drew: bool
) -> Finding | None:
    """Run from other seeds: what is drawn at all may decide one time in many.

    `first` is the output from seed 0.  That a block draws nothing is its process's word, so that
    one other seed is asked all the same.
    """
    seeds = range(1, _SEEDS if drew else 2)
    outputs = subject.all_of([subject.to_run(model, tokens, seed=seed) for seed in seeds])
    for seed, output in zip(seeds, outputs, strict=True):
        change = worst([difference(first, output)])
        if not change <= EQUAL:
            runs = subject.trace(model, tokens, seed=0), subject.trace(model, tokens, seed=seed)
            place = subject.first_different(runs, (WHOLE, WHOLE), EQUAL)
            message = "In eval mode the output depends on the random generator."
            return finding("determinism.random", message, {"change": change}, place=place)
    if not drew:
        return None
    message = f"It draws random numbers in eval mode; {_SEEDS} runs gave one output all the same."
    place = subject.place_of(subject.block())
    return finding("determinism.random", message, {"change": 0.0}, place=place, severity="warning")


def _what_remembers(subject: Subject, model: Model, tokens: Tensor, others: Tensor) -> Place:
    subject.run(model, tokens)
    one = subject.trace(model, tokens)
    subject.run(model, others)  # a state that settles would be as it was
    two = subject.trace(model, tokens)
    return subject.first_different((one, two), (WHOLE, WHOLE), EQUAL)


def _to_note(subject: Subject, model: Model, note: int) -> Asking[Any]:
    """Ask to have the state of a model remembered where it is."""
    return silent(subject.candidate.to_ask(model, "note", number=note))


def _to_see(subject: Subject, model: Model, note: int, what: str) -> Asking[Any]:
    """Ask for the names of what has changed since a note."""
    question = subject.candidate.to_ask(model, "changed", note=note)
    return Asking(question, lambda answer, made: names(answer, what))
