"""Every sequence of a batch by itself: no output depends on a neighbour, or on their number.

Asked of every sequence against every other, before causality, whose probes put one cut in each
row: a block that carries one row into another would look there as if it saw the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations

from torch import Tensor

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.plugins.auditor.numbers import EQUAL, ROUNDING, difference, settled
from genesys_engine.plugins.auditor.subject import Subject, View

_LENGTH = 9
# Rounding is 1e-16 of a value, and some steps make 1e-15 of it.
_THOUSAND_ROUNDINGS = 1e-12
# Four sets of sequences.  Each sequence is in two of its own, so that of any two sequences each
# is in a set in which the other is not: four runs ask all thirty pairs.
_SETS = 4
_PLACES = tuple(combinations(range(_SETS), 2))
_ROWS = len(_PLACES)
_EVERY = tuple([row for row in range(_ROWS) if k in _PLACES[row]] for k in range(_SETS))
# What the usual faults need, for train mode and in haste: the first reaches all, the last those
# before.
_EDGE_ROWS = ([0], [_ROWS - 2, _ROWS - 1])


def check_batch(subject: Subject) -> Iterator[Finding]:
    """`batch.mixed`: a sequence's output does not depend on its neighbours.

    Nor on their number: `among_others` asks that, at every length that is probed in a batch.
    """
    found = _mixed(subject, "eval", _EVERY) or _mixed(subject, "train", _EDGE_ROWS)
    if found is not None:
        yield found


def check_batch_fast(subject: Subject) -> Iterator[Finding]:
    """The same in eval mode, of the first and the last sequences."""
    found = _mixed(subject, "eval", _EDGE_ROWS)
    if found is not None:
        yield found


def _mixed(subject: Subject, mode: str, sets: Sequence[list[int]]) -> Finding | None:
    """Replace the sequences of each set: the others' outputs stay."""
    model = subject.shared.train(mode == "train")
    tokens = subject.tokens(_ROWS, _LENGTH)
    others = [_with_others(subject, tokens, replaced) for replaced in sets]
    before, *after = subject.all_of([subject.to_run(model, each) for each in (tokens, *others)])
    for replaced, other, output in zip(sets, others, after, strict=True):
        kept = [row for row in range(_ROWS) if row not in replaced]
        outputs = before, output
        apart = settled(partial(_apart, subject, outputs, (tokens, other), kept), EQUAL)
        if not apart <= EQUAL:
            return _finding(subject, mode, (tokens, other), kept, apart)
    return None


def _apart(
    subject: Subject,
    outputs: tuple[Tensor, Tensor],
    batches: tuple[Tensor, Tensor],
    kept: list[int],
    wide: bool,
) -> float:
    """Compare the sequences `kept` of two batches, in fp64 where it is to be `wide`."""
    one, other = outputs
    if wide:
        one, other = (subject.run(subject.shared, batch, wide=True) for batch in batches)
    return difference(one[kept], other[kept])


def _finding(
    subject: Subject, mode: str, batches: tuple[Tensor, Tensor], kept: list[int], change: float
) -> Finding:
    """Say which sequences reach which others, each replaced alone."""
    model, tokens = subject.shared, batches[0]
    before = subject.run(model, tokens)
    reached: dict[int, list[int]] = {}
    for source in range(_ROWS):
        after = subject.run(model, _with_others(subject, tokens, [source]))
        changed = [row for row in range(_ROWS) if not difference(before[row], after[row]) <= EQUAL]
        if changed != [source]:
            reached[source] = [row for row in changed if row != source]
    runs = subject.trace(model, batches[0]), subject.trace(model, batches[1])
    view = _sequences(kept, _ROWS)
    place = subject.first_different(runs, (view, view), EQUAL)
    evidence: dict[str, Evidence] = {"mode": mode, "change": change}
    if reached:
        source, sinks = next(iter(reached.items()))
        evidence |= {"source": source, "sequence": sinks[0] if sinks else source}
    text = f"The output of a sequence depends on its neighbours in the batch{_pattern(reached)}."
    return finding("batch.mixed", text, evidence, place=place)


def _pattern(reached: dict[int, list[int]]) -> str:
    """Return what the pairs look like, where it is a fault that is often made."""
    if list(reached) == [0]:
        return ": on the first one, as where [0] is taken of a tensor and not of a pair"
    if reached and all(source < min(sinks) for source, sinks in reached.items() if sinks):
        return ": on those before it, as where a layer without batch_first takes them for time"
    return ""


def among_others(subject: Subject, rows: Tensor, output: Tensor) -> Finding | None:
    """Compare the first of some rows, run together, with what it gives alone: `batch.mixed`.

    `output` is what `shared` made of the rows in eval mode.  For the probes that run a batch
    anyway, at their lengths.
    """
    length, model = rows.shape[1], subject.shared

    def change(wide: bool) -> float:
        if wide:
            return difference(*(subject.run(model, t, wide=True)[:1] for t in (rows[:1], rows)))
        return difference(subject.alone(length)[-1], output[:1])

    apart = settled(change, EQUAL)
    if not apart > EQUAL or is_chaos(subject, rows[:1], apart):  # NaN is for the caller to find
        return None
    runs = subject.trace(model, rows), subject.trace(model, rows[:1])
    views = _sequences([0], len(rows)), _sequences([0], 1)
    place = subject.first_different(runs, views, EQUAL)
    text = f"A sequence of {length} tokens gives another output alone than in a batch."
    evidence: dict[str, Evidence] = {"length": length, "batch": len(rows), "change": apart}
    return finding("batch.mixed", text, evidence, place=place)


def is_chaos(subject: Subject, tokens: Tensor, apart: float) -> bool:
    """Tell whether the rounding of fp64 alone may make a change that large.

    Batches of other sizes round otherwise.  What that becomes at the output is read from a change
    of the input that is small, and yet a thousand times the size of rounding; where that fills the
    output already, many layers deep, rounding may make anything of it.
    """
    others = subject.other_tokens(tokens)
    near = subject.layers(subject.shared, others, nearer=(tokens, _THOUSAND_ROUNDINGS))[-1]
    grown = difference(subject.alone(tokens.shape[1])[-1], near)
    return apart < (grown if grown > ROUNDING else grown / 1000)


def _with_others(subject: Subject, tokens: Tensor, replaced: list[int]) -> Tensor:
    other = tokens.clone()
    other[replaced] = subject.other_tokens(tokens[replaced])
    return other


def _sequences(rows: list[int], batch: int) -> View:
    """View some sequences of the batch."""
    return "sequences", rows, batch
