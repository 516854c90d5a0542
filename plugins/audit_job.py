"""The job that audits one block in full, for `genesys-engine check`.

Runs in an isolated worker process; JSON in, JSON out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesys_engine.gab import lean_torch
from genesys_engine.gab.checks.audit import Order, audit_block

# What a block may name that needs the whole of PyTorch; a word too many costs nothing but time.
_WHOLE = re.compile(
    r"\bmeta\b|fake|compile[dr]?\(|torch\.compile|export|torch\.fx|torch\.library|dispatch|dynamo"
    r"|flex|_refs|_prims|_decomp|checkpoint",
    re.IGNORECASE,
)


def audit(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
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
    order = Order(**fields)
    if _WHOLE.search(order.source):
        lean_torch.everything()
    found = audit_block(order)
    return {
        "report": found.report.to_json(),
        "facts": dict(found.facts),
        "machine_findings": [asdict(each) for each in found.machine_findings],
    }


def _composed(seed: str) -> str:
    from genesys_engine.gab import library
    from genesys_engine.gab.compose import compose

    return compose(library.seed(seed))
