"""The job that audits one block in full, for `genesys-engine check`.

Runs in an isolated worker process; JSON in, JSON out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesys_engine.gab.checks.audit import Order, audit_block


def audit(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Audit the block that `payload`, the fields of an `Order`, describes.

    Returns `report` (`CheckReport.to_json()`, which depends on the payload alone), `facts` (of
    this machine, seconds and ratios of them) and `machine_findings`.

    Raises:
        TypeError: the payload has other fields.
        MemoryError: the block asked for more than the worker may have.
    """
    found = audit_block(Order(**payload))
    return {
        "report": found.report.to_json(),
        "facts": dict(found.facts),
        "machine_findings": [asdict(each) for each in found.machine_findings],
    }
