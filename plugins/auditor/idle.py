"""Units that change nothing: replaced by the identity, the model's output stays the same."""

from __future__ import annotations

from collections.abc import Iterator

from genesys_engine.gab.checks.report import Finding, finding
from genesys_engine.plugins.auditor.candidate import rows
from genesys_engine.plugins.auditor.numbers import EQUAL, difference, worst
from genesys_engine.plugins.auditor.subject import Subject


def check_dead_units(subject: Subject) -> Iterator[Finding]:
    """`unit.dead`: a unit inside the blocks without which the output is the same, in any mode.

    All blocks' namesakes are replaced at once.  Parameters are moved, so that a gate at zero is
    no reason; the generator starts alike, so that dropout elsewhere is none either.
    """
    model = subject.shared
    tokens, output = subject.answer
    answer, _ = subject.candidate.of(model, "units")
    units = dict(rows(answer, "units", str, str))
    asked = [subject.to_run_without(model.eval(), path, tokens) for path in units]
    for (path, unit), (without, called) in zip(units.items(), subject.all_of(asked), strict=True):
        change = worst([difference(output, without)])
        if change <= EQUAL:  # the other mode is asked only where this one is the same
            whole = subject.run(model.train(), tokens)
            without, reached = next(subject.all_of([subject.to_run_without(model, path, tokens)]))
            change, called = worst([difference(whole, without)]), called or reached
        if called and change <= EQUAL:  # one that is never called has a finding of its own
            place = subject.source.place_of_class(unit)
            text = f"Without the unit at {path!r} the output is the same."
            yield finding("unit.dead", text, {"path": path, "change": change}, place=place)
    model.eval()
