"""Feedback to a coder on its last attempt: short, with the faulty line and how to change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesys_engine.gab.checks.brief import brief
from genesys_engine.gab.checks.report import CheckReport, Finding
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import GenesysError, UnitError
from genesys_engine.gab.tree import GABTree

_SHOWN = 2  # findings: fixing the first often fixes the rest
_VERB = "Mend"  # part of prompts: recorded replies are found by the digest of the prompt
_KEYS = ("code", "severity", "message", "advice", "unit", "line", "evidence")
_LONGEST = 1200


def of_report(report: Mapping[str, Any], tree: GABTree) -> str:
    """Return the errors of a failed check, each with the line of code that it names."""
    errors = [found for found in report["findings"] if found["severity"] == "error"][:_SHOWN]
    findings = tuple(Finding(**{k: v for k, v in f.items() if k in _KEYS}) for f in errors)
    text = brief(CheckReport(findings), name="check", source=compose(tree), verb=_VERB)
    return text.partition("\n")[2].strip()[:_LONGEST]


def of_error(error: GenesysError, source: str) -> str:
    """Return a breach of the contract, with the line of the reply."""
    quoted = ""
    line = (error.where or "").rpartition(":")[2]
    lines = source.splitlines()
    if isinstance(error, UnitError) and line.isdigit() and 0 < int(line) <= len(lines):
        quoted = f"\n     | {lines[int(line) - 1].strip()[:100]}"
    advice = f"\n   {_VERB}: {error.hint}" if error.hint else ""
    return f"{error.message}{quoted}{advice}"[:_LONGEST]


def codes(report: Mapping[str, Any]) -> list[str]:
    """Return the codes of a report's errors, each once."""
    errors = [f["code"] for f in report["findings"] if f["severity"] == "error"]
    return list(dict.fromkeys(errors))
