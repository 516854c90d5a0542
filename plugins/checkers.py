"""Runs the checkers of plugins on a block that has passed the built-in checks.

Only ever called inside an isolated worker.  What a checker raises is the checker's fault and no
finding, unless it was raised by the block's own code: a design must not be refused for a plugin
that is broken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from genesys_engine.gab.checks.report import CheckReport, Finding
from genesys_engine.plugins.api import Checker, CheckSubject
from genesys_engine.plugins.targets import build

FAULT = "checker_fault"
"""Measurement that tells the engine which checker failed, and how."""


def with_checkers(
    report: CheckReport, payload: Mapping[str, Any], checkers: Sequence[Mapping[str, Any]]
) -> CheckReport:
    """Return `report` with the findings of `checkers` (name, target, options) added.

    The first error ends it: later checkers may rely on earlier ones.
    """
    # Imports torch; the engine reads this module for `FAULT` alone.
    from genesys_engine.gab.checks.sourcemap import SourceMap
    from genesys_engine.gab.compose import load_block

    for entry in checkers if report.passed else ():
        subject = CheckSubject(
            payload["source"],
            load_block(payload["source"]),
            payload["seed"],
            report.measurements["fits"],
        )
        try:
            found = _findings(build(entry["target"], entry["options"]), subject)
        except Exception as error:
            source = SourceMap(payload["source"])
            if source.place_of_error(error) == (None, None):
                fault = {"name": entry["name"], "reason": f"{type(error).__name__}: {error}"[:2000]}
                return CheckReport(report.findings, {**report.measurements, FAULT: fault})
            found = (source.fault("forward.error", error),)
        report = CheckReport((*report.findings, *found), report.measurements)
        if not report.passed:
            break
    return report


def _findings(checker: Checker, subject: CheckSubject) -> tuple[Finding, ...]:
    """Return what a checker finds.

    Raises:
        TypeError, ValueError: it is not findings, or cannot be written as JSON (NaN, tensors).
    """
    found = tuple(checker.check(subject))
    for finding in found:
        if not isinstance(finding, Finding):
            raise TypeError(f"a checker returns findings, not {type(finding).__name__}")
        if finding.severity not in ("error", "warning"):
            raise ValueError(f"severity {finding.severity!r} is neither 'error' nor 'warning'")
    json.dumps(CheckReport(found).to_json(), allow_nan=False)
    return found
