"""What differs between the ways in which a block is run: building, modes, precision, scale.

These run in an audit and not in a run's own check: a run trains in fp32 with units that the
contract has bound already, and every child pays for each probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

import torch
from torch import Tensor

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.plugins.auditor.candidate import Model, Parameter, found, only
from genesys_engine.plugins.auditor.gradient import origin_of_nan
from genesys_engine.plugins.auditor.numbers import EQUAL, difference, settled
from genesys_engine.plugins.auditor.subject import WHOLE, Subject
from genesys_engine.plugins.sandbox.subject import SubjectRaised

_LENGTH = 31
# Residual streams of trained models reach such values in single channels.
LARGE = 1e3
# How much larger the change of the last eighth of a long input may be than that of the first.
GROWTH = 1e3
# Of what a block adds, at one position, as root mean squares: a value of bfloat16 is 2^-9 off, and
# those of two runs of one shape are rounded alike.
LEAK_BF16 = 2e-2
_DRAWS = 8  # a layer that is left out half the time, for whole sequences, shows in one of these
_LONGER = 4
_LONGEST = 1024


def check_factory(subject: Subject) -> Iterator[Finding]:
    """`build.options`: every parameter is made on the device and in the dtype that was asked.

    Complex parameters have the complex dtype that belongs to it, and whole numbers their own.
    There are the same ones on every device: they are counted on one, and trained on another.
    """
    for here, meta in zip(subject.each_kind(), subject.each_kind(device="meta"), strict=True):
        found = _factory_fault(subject, here, meta)
        if found is not None:
            yield found
            return


def _factory_fault(subject: Subject, here: Model, meta: Model) -> Finding | None:
    """Return what is wrong with a block's parameters on the CPU and on the meta device."""
    other = [p for p, q in zip_longest(here.parameters, meta.parameters) if not _alike(p, q)]
    if other:
        name = other[0].name if other[0] is not None else meta.parameters[-1].name
        text = f"On the meta device it has other parameters than on the CPU, {name!r} among them."
        place = subject.place_of(here)
        evidence: dict[str, Evidence] = {
            "parameter": name,
            "wanted": "device meta",
            "parameters": len(other),
        }
        return finding("build.options", text, evidence, place=place)
    for wanted, block in (("dtype float64", here), ("device meta", meta)):
        params = [(p.name, *_as_asked(p, wanted)) for p in block.parameters]
        wrong = [(name, got) for name, right, got in params if not right]
        if wrong:
            name, got = wrong[0]
            text = f"The parameter {name!r} was asked for with {wanted} and has {got}."
            place = subject.place_of_parameter(block, name)
            evidence = {"parameter": name, "wanted": wanted, "parameters": len(wrong)}
            return finding("build.options", text, evidence, place=place)
    return None


def _alike(one: Parameter | None, other: Parameter | None) -> bool:
    """Tell whether two builds have the same parameter at a place of their lists."""
    if one is None or other is None:
        return False
    return (one.name, one.shape) == (other.name, other.shape)


def _as_asked(parameter: Parameter, wanted: str) -> tuple[bool, str]:
    """Tell whether a parameter is as asked, and what it is instead."""
    if "device" in wanted:
        return parameter.device == wanted.split()[1], parameter.device
    numbers = "float" in parameter.dtype or "complex" in parameter.dtype
    right = parameter.dtype in ("float64", "complex128") or not numbers
    return right, f"torch.{parameter.dtype}"


def check_modes(subject: Subject) -> Iterator[Finding]:
    """`mode.differs`: without dropout, train mode computes what eval mode computes.

    Where train mode draws random numbers the two are not comparable, and nothing is reported.
    """
    model = subject.shared
    tokens, evaluated = subject.answer

    def apart(wide: bool) -> float:
        train = subject.run(model.train(), tokens, wide=wide)
        if wide:
            return difference(train, subject.run(model.eval(), tokens, wide=True))
        return difference(train, evaluated)

    change = settled(apart, EQUAL)
    if not change <= EQUAL:
        many, train = subject.tokens(2, _LENGTH), model.train()
        drawn = subject.all_of([subject.to_run(train, many, seed=seed) for seed in range(_DRAWS)])
        first = next(drawn)
        if any(difference(first, other) > EQUAL for other in drawn):  # NaN is no draw
            return
        text = "Train mode draws nothing, and yet its output is not that of eval mode."
        runs = subject.trace(model.train(), tokens), subject.trace(model.eval(), tokens)
        place = subject.first_different(runs, (WHOLE, WHOLE), EQUAL)
        yield finding("mode.differs", text, {"change": change}, place=place)


def check_autocast(subject: Subject) -> Iterator[Finding]:
    """`autocast.error`: under bfloat16 autocast forward and backward run and keep X's dtype."""
    for block in subject.each_kind(torch.float32):
        X = _input(subject, 2, _LENGTH)
        try:
            _, made = subject.candidate.of(block, "autocast", X)
        except SubjectRaised as error:
            fault = subject.source.fault("autocast.error", error.raised, {"length": _LENGTH})
            yield _as_a_warning(fault)
            return
        # No gradient at all is a fault in any precision, which the gradient's own check tells.
        (Y,) = only(made[:1])
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in made)
        if Y.dtype != X.dtype or not finite:
            what = "is not finite" if Y.dtype == X.dtype else f"is {Y.dtype}"
            place = subject.place_of(block)
            text = f"Under bfloat16 autocast the output of an input of {X.dtype} {what}."
            yield finding("autocast.error", text, {"length": _LENGTH}, place=place)
            return
    yield from _leak_under_autocast(subject)


def _leak_under_autocast(subject: Subject) -> Iterator[Finding]:
    """`causality.leak` of blocks with moved parameters, under autocast, as a GPU trains them.

    Two sequences, and both again with another end: runs of one shape draw alike.
    """
    X = _input(subject, 2, _LENGTH)
    cuts = (_LENGTH - 1, _LENGTH // 2 + 1)
    changed = X.clone()
    for row, cut in enumerate(cuts):
        changed[row, cut:] = _input(subject, 1, _LENGTH - cut)[0]
    for block in subject.opened_kinds(torch.float32):
        asked = [subject.candidate.to_ask(block, "autocast", each.clone()) for each in (X, changed)]
        made = [tensors for _, tensors in subject.candidate.ask_all(asked)]
        added = torch.stack([subject.shaped(only(each[:1])[0], X).double() for each in made]) - X
        for row, cut in enumerate(cuts):
            one, other = added[:, row, :cut]
            apart, size = (one - other).square().mean(-1).max(), one.square().mean()
            change = float((apart / size.clamp_min(1e-300)).sqrt())
            if change > LEAK_BF16:  # NaN is no leak: moved parameters may be too large here
                text = f"Under bfloat16 autocast new inputs from position {cut} on change outputs."
                evidence: dict[str, Evidence] = {"length": _LENGTH, "cut": cut, "change": change}
                evidence |= {"parameters": "moved, autocast"}
                yield finding("causality.leak", text, evidence, place=subject.place_of(block))
                return


def _as_a_warning(found: Finding) -> Finding:
    """Return what this machine lacks as a warning: fp32 was checked, and a GPU may have it."""
    return replace(found, severity="warning") if found.code == "machine.unsupported" else found


def check_large_inputs(subject: Subject) -> Iterator[Finding]:
    """`output.overflow`: inputs of large norm give finite outputs and gradients (fp32)."""
    for block in subject.each_kind(torch.float32):
        fault = _overflow(subject, block)
        if fault is not None:
            yield fault
            return


def _overflow(subject: Subject, block: Model) -> Finding | None:
    """Return where a block overflows for inputs of large norm."""
    X = _input(subject, 2, _LENGTH) * LARGE
    weights = torch.randn(X.shape, generator=subject.generator(8))
    answer, (Y, *gradients) = subject.candidate.of(block, "pull_block", X, weights)
    evidence: dict[str, Evidence] = {"input": LARGE, "length": _LENGTH}
    if not torch.isfinite(Y).all():
        text = f"An input of values around {LARGE:g} gives an output that is not finite."
        place = subject.first_nonfinite(subject.trace(block, X))
        place = place if place[0] else subject.place_of(block)
        return finding("output.overflow", text, evidence, place=place)
    pulled = found(answer, gradients, 1 + len(block.parameters))
    if not all(bool(torch.isfinite(g).all()) for g in pulled if g is not None):
        text = f"An input of values around {LARGE:g} gives a gradient that is not finite."
        place = origin_of_nan(subject, subject.model(dtype=torch.float32), _LENGTH)
        return finding("output.overflow", text, evidence, place=place)
    return None


def check_growth(subject: Subject) -> Iterator[Finding]:
    """`output.explodes`: what the block adds does not grow with the position without bound."""
    length = max(subject.longest, min(_LONGEST, _LONGER * subject.context))
    X, part = _input(subject, 1, length), max(1, length // 8)
    for block in subject.each_kind(torch.float32):
        change = (subject.run(block.eval(), X) - X).double().square().mean((0, 2))
        first, last = float(change[:part].mean() ** 0.5), float(change[-part:].mean() ** 0.5)
        ratio = last / max(first, 1e-30)
        if not ratio <= GROWTH:
            text = f"What the block adds is {ratio:.3g} times larger at the end of "
            evidence: dict[str, Evidence] = {"length": length, "ratio": ratio}
            place = subject.place_of(block)
            yield finding("output.explodes", f"{text}{length} positions.", evidence, place=place)
            return


def _input(subject: Subject, batch: int, length: int) -> Tensor:
    generator = subject.generator(length)
    return torch.randn(batch, length, subject.width, generator=generator)
