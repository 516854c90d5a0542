"""Feedback to a coder on its last attempt: short, with the faulty line and how to change it.

With a trace it also says what was known where the fault happened: what the names of the failing
expression stood for, and what is nearest to a name that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from genesys_engine.gab.checks.brief import paragraph
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.trace import Trace, in_lines
from genesys_engine.gab.compose import class_names, compose
from genesys_engine.gab.errors import GenesysError, UnitError
from genesys_engine.gab.tree import GABTree
from genesys_engine.gab.unit import Unit

_SHOWN = 2  # findings: fixing the first often fixes the rest
_VERB = "Mend"  # part of prompts: recorded replies are found by the digest of the prompt
_SHAPE = re.compile(r"(?!Size )\w+ (\(.*\))")
_KEYS = [each.name for each in fields(Finding)]
_LONGEST, _TRACED = 1200, 1600


def of_report(
    report: Mapping[str, Any], tree: GABTree, unit: Unit | None = None, *, traced: bool
) -> str:
    """Return the errors of a failed check, each with the line of code that it names.

    Args:
        report: of the check of `tree`.
        tree: what was checked.
        unit: the one that the reader has written: places are those of its class, where they can be.
        traced: add what the findings' traces know.
    """
    errors = [found for found in report["findings"] if found["severity"] == "error"][:_SHOWN]
    findings = [Finding.from_json({k: v for k, v in f.items() if k in _KEYS}) for f in errors]
    source = compose(tree)
    view = _View(source, unit, class_names(tree).get(unit.digest, "") if unit else "")
    parts = ["\n".join(view.lines(n, each, traced=traced)) for n, each in enumerate(findings, 1)]
    return "\n\n".join(parts)[: _TRACED if traced else _LONGEST]


def of_error(error: GenesysError, source: str) -> str:
    """Return a breach of the contract, with the line of the reply."""
    quoted = ""
    line = (error.where or "").rpartition(":")[2]
    lines = source.splitlines()
    if isinstance(error, UnitError) and line.isdigit() and 0 < int(line) <= len(lines):
        quoted = f"\n     | {lines[int(line) - 1].strip()[:100]}"
    advice = f"\n   {_VERB}: {error.hint}" if error.hint else ""
    return f"{error.message}{quoted}{advice}"[:_LONGEST]


def detail_of(error: GenesysError) -> str:
    """Return what is known about a breach of the contract next to `of_error`, "" for nothing."""
    missing = error.missing if isinstance(error, UnitError) else None
    return "\n".join(f"   {line}" for line in in_lines(Trace(missing=missing)))


def joined(message: str, detail: str, *, traced: bool) -> str:
    """Return a message, with its detail where feedback is traced."""
    return "\n".join(part for part in (message, detail if traced else "") if part)


def codes(report: Mapping[str, Any]) -> list[str]:
    """Return the codes of a report's errors, each once."""
    errors = [f["code"] for f in report["findings"] if f["severity"] == "error"]
    return list(dict.fromkeys(errors))


class _View:
    """A composed source as the author of one of its units sees it: with lines of its class."""

    def __init__(self, source: str, unit: Unit | None, name: str) -> None:
        self.source = source.split("\n")
        self.unit = unit
        self.name = name
        self.first = SourceMap(source).place_of_class(name)[1] or 1

    def lines(self, number: int, found: Finding, *, traced: bool) -> list[str]:
        """Return the text on a finding."""
        if not traced:
            return list(paragraph(number, _with_shapes(found), self.source, _VERB, ()))
        at = found.trace.within(self.name) if found.trace else None
        details = in_lines(found.trace, at=at, whole=True) if found.trace else ()
        if at is not None:
            found = replace(found, unit=self.name, line=at.line)
        source = self.source
        if found.unit == self.name and found.line:
            source = source[self.first - 1 :]
            found = replace(found, line=found.line - self.first + 1)
        return [self._renamed(line) for line in paragraph(number, found, source, _VERB, details)]

    def _renamed(self, line: str) -> str:
        """Return a line with the unit's own name: in the composed module it may have another."""
        if self.unit is None or not self.name:
            return line
        return re.sub(rf"\b{re.escape(self.name)}\b", self.unit.name, line)


def _with_shapes(found: Finding) -> Finding:
    """Return a finding with the shapes of the failing call as evidence.

    Without a trace in their feedback the prompts stay those of the recorded study.
    """
    if found.code != "forward.error" or not (found.trace and found.trace.calls):
        return found
    held = found.trace.calls[-1].held
    tensors = {n: _SHAPE.match(words) for n, words in held.items() if "." not in n}
    shapes = ", ".join(f"{name} {shape[1]}" for name, shape in tensors.items() if shape)
    last = {key: value for key, value in found.evidence.items() if key == "seed"}
    evidence = {k: v for k, v in found.evidence.items() if k not in last}
    return replace(found, evidence={**evidence, **({"shapes": shapes} if shapes else {}), **last})
