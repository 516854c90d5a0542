"""Some output depends on an earlier input, and how far back the last one reaches."""

from __future__ import annotations

from collections.abc import Iterator

from genesys_engine.gab.checks.report import Finding, finding
from genesys_engine.plugins.auditor.lengths import SHORT
from genesys_engine.plugins.auditor.numbers import difference, settled
from genesys_engine.plugins.auditor.subject import Subject

MIXES = 1e-6
# Far tokens weigh little: anything beyond rounding is a dependence.
_REACHES = 1e-12
_BEGINNING = 9  # whole chunks of no size: what a chunk keeps to itself is seen as well


def check_mixing(subject: Subject) -> Iterator[Finding]:
    """`mixing.none`: with every token of the beginning replaced, no later output changes.

    All later outputs are asked: one position may close its own gate (the TTT seed does, where its
    moved rate falls below zero), and a block that reads from one distance only shows somewhere.
    It may read from farther back than a short input has, so the longest is tried first.
    """
    for length in dict.fromkeys((SHORT, subject.context, subject.longest)):
        tokens, output = subject.tokens(1, length), subject.alone(length)[-1]
        others = tokens.clone()
        others[:, :_BEGINNING] = subject.other_tokens(tokens[:, :_BEGINNING])
        other = subject.run(subject.shared.eval(), others)
        change = difference(output[:, _BEGINNING:], other[:, _BEGINNING:])
        if change > MIXES:
            return
    text = f"With the first {_BEGINNING} tokens replaced, every later output stays the same."
    evidence = {"length": length, "replaced": _BEGINNING, "change": change}
    yield finding("mixing.none", text, evidence)


def receptive_field(subject: Subject) -> int:
    """Return how many tokens back the last output of the model reaches, in steps of 1, 2, 4 ...

    0 means that it depends on no earlier token.  The farthest distance within the context at
    which one token, replaced alone, changes the last output.
    """
    length = subject.context
    # Most blocks reach the whole context: that is asked first, and often nothing else need be.
    distances = [length - 1, *(2**k for k in reversed(range(12)) if 2**k < length - 1)]
    return next((distance for distance in distances if _reaches(subject, distance)), 0)


def _reaches(subject: Subject, distance: int) -> bool:
    """Tell whether one token, replaced alone, changes the last output from so far back."""
    length = subject.context
    tokens = subject.tokens(1, length)
    others, at = tokens.clone(), slice(length - 1 - distance, length - distance)
    others[:, at] = subject.other_tokens(tokens[:, at], salt=distance)

    def change(wide: bool) -> float:
        model = subject.shared.eval()
        output = subject.run(model, tokens, wide=True) if wide else subject.alone(length)[-1]
        return difference(output[:, -1], subject.run(model, others, wide=wide)[:, -1])

    return settled(change, _REACHES) > _REACHES
