"""The job that audits one block in full, for `genesys-engine check`.

JSON in, JSON out.  The job is the judge: it runs nothing of the block, and asks the subject, a
process of its own in which the block's code is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesys_engine.plugins.auditor.audit import Order, audit_block
from genesys_engine.plugins.auditor.candidate import Candidate
from genesys_engine.plugins.sandbox.subject import Asked


def audit(payload: Mapping[str, Any], scratch: Path, subject: Asked) -> dict[str, Any]:
    """Audit the block that `payload` describes: the fields of an `Order`.

    In the place of `reference`, `reference_seed` may name a seed of the library.

    Returns `report` (`CheckReport.to_json()`, which depends on the payload alone), `facts` (of
    this machine, seconds and ratios of them) and `machine_findings`.

    Raises:
        TypeError: the payload has other fields.
        MemoryError: the block asked for more than the worker may have.
    """
    fields = dict(payload)
    if seed := fields.pop("reference_seed", ""):
        fields["reference"] = _composed(seed)
    found = audit_block(Order(**fields), Candidate(subject))
    return {
        "report": found.report.to_json(),
        "facts": dict(found.facts),
        "machine_findings": [asdict(each) for each in found.machine_findings],
    }


def _composed(seed: str) -> str:
    from genesys_engine.gab import library
    from genesys_engine.gab.compose import compose

    return compose(library.seed(seed))
