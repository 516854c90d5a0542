"""The job that checks one design, cheaply, before anything is spent on its training.

Runs in an isolated worker process; JSON in, JSON out; the reply depends on the payload alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.gab.checks.run import check_block


def check(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Return `CheckReport.to_json()` of the block in `payload`.

    Payload: `source` (composed module), `vocab_size`, `seed`, `scales` (names of the ladder's
    scales).

    Raises:
        KeyError, InputError: the payload is not of this form, or names no known scale.
    """
    report = check_block(
        payload["source"],
        vocab_size=payload["vocab_size"],
        seed=payload["seed"],
        scales=payload["scales"],
    )
    return report.to_json()
