"""Findings as a SARIF log, which code scanning, editors and many other tools read.

Source: "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", OASIS standard, 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from genesys_engine import __version__
from genesys_engine.engine.cli.audit_formats.audited import (
    Audited,
    Unreadable,
    message,
    region,
    relative,
    uri,
)
from genesys_engine.gab.checks.report import Finding

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
PAGE = "auditor/"  # of the site: a heading for each code


def sarif(
    audited: Sequence[Audited], unreadable: Sequence[Unreadable] = (), *, exit_code: int = 0
) -> dict[str, Any]:
    """Return the log: one run, a rule for each code that was found, a result for each finding.

    What could not be read is a notification of the run's invocation.
    """
    found = [(each, finding) for each in audited for finding in each.findings]
    rules = {finding.code: finding for _, finding in found}
    codes = sorted(rules)
    run: dict[str, Any] = {
        "tool": {"driver": _driver([rules[code] for code in codes])},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(unreadable, exit_code)],
        "results": [_result(each, finding, codes.index(finding.code)) for each, finding in found],
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _driver(rules: Iterable[Finding]) -> dict[str, Any]:
    site = _documentation()
    home = {"informationUri": site} if site else {}
    return {
        "name": "genesys-engine",
        "version": __version__,
        **home,
        "rules": [_rule(found, site) for found in rules],
    }


def _rule(found: Finding, site: str) -> dict[str, Any]:
    group, _, fault = found.code.replace("_", " ").partition(".")
    link = f"{site.rstrip('/')}/{PAGE}#{found.code.replace('.', '')}" if site else ""
    return {
        "id": found.code,
        "shortDescription": {"text": f"{group}: {fault}"},
        "fullDescription": {"text": found.advice},
        "help": {"text": found.advice},
        **({"helpUri": link} if link else {}),
    }


def _documentation() -> str:
    """Return the site of the documentation as the installed package names it; "" for none."""
    try:
        named = metadata("genesys-engine").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    urls = dict(each.split(", ", 1) for each in named if ", " in each)
    return str(urls.get("Documentation", ""))


def _result(audited: Audited, found: Finding, rule: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"evidence": dict(found.evidence)} if found.evidence else {}
    return {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": found.severity,
        "message": {"text": message(audited.target, found)},
        "locations": [_location(audited, found)],
        **({"properties": properties} if properties else {}),
    }


def _location(audited: Audited, found: Finding) -> dict[str, Any]:
    target = audited.target
    logical = [
        part for part in (target.name if target.kind == "design" else "", found.unit) if part
    ]
    location: dict[str, Any] = {}
    if target.kind != "design":
        location["physicalLocation"] = {"artifactLocation": _artifact(target.name)}
    if target.kind == "source":
        at = region(target, found)
        location["physicalLocation"]["region"] = {
            "startLine": at.line,
            "startColumn": at.column,
            "endLine": at.line,
            "endColumn": at.end,
        }
    if logical:
        location["logicalLocations"] = [{"fullyQualifiedName": ".".join(logical), "kind": "type"}]
    return location


def _artifact(path: str) -> dict[str, str]:
    base = {} if relative(path) is None else {"uriBaseId": "%SRCROOT%"}
    return {"uri": uri(path), **base}


def _invocation(unreadable: Sequence[Unreadable], exit_code: int) -> dict[str, Any]:
    notes = [
        {
            "level": "error",
            "message": {"text": bad.reason},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(bad.path)}}],
        }
        for bad in unreadable
    ]
    return {
        "executionSuccessful": not unreadable,
        "exitCode": exit_code,
        **({"toolExecutionNotifications": notes} if notes else {}),
    }
