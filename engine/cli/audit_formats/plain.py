"""An audit as text for people and language models, and as data for programs."""

from __future__ import annotations

from dataclasses import asdict

from genesys_engine.engine.check.audit import versions
from genesys_engine.engine.cli.audit_formats.audited import Audited
from genesys_engine.gab.checks.brief import brief
from genesys_engine.plugins.sandbox import isolation_here, sandbox_status


def as_text(audited: Audited) -> str:
    """Return verdict, findings and measurements, most urgent first."""
    target, result = audited.target, audited.result
    return brief(
        result.report,
        name=target.name,
        source=target.source,
        machine_findings=result.machine_findings,
        facts=result.facts,
    )


def as_data(audited: Audited, level: str) -> dict[str, object]:
    """Return an audit as a JSON object; `level` is "fast" or "full"."""
    target, result = audited.target, audited.result
    isolation = isolation_here()
    return {
        "target": target.name,
        "level": level,
        "verdict": "passed" if result.report.passed else "failed",
        "findings": [asdict(found) for found in result.report.findings],
        "measurements": dict(result.report.measurements),
        "machine": {
            "facts": dict(result.facts),
            "findings": [asdict(found) for found in result.machine_findings],
        },
        "sandbox": {
            "level": isolation.level,
            "measures": {m.name: m.active for m in sandbox_status(isolation)},
        },
        "versions": versions(),
    }
