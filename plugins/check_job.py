"""The job that checks one design, cheaply, before anything is spent on its training.

JSON in, JSON out; the reply depends on the payload alone.  The job is the judge: it runs nothing of
the design, and asks the subject, a process of its own in which the design's code is (`SUBJECT`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.plugins.auditor.candidate import Candidate
from genesys_engine.plugins.auditor.run import check_block
from genesys_engine.plugins.checkers import with_checkers
from genesys_engine.plugins.sandbox.subject import Asked


def check(payload: Mapping[str, Any], scratch: Path, subject: Asked) -> dict[str, Any]:
    """Return `CheckReport.to_json()` of the block in `payload`.

    Payload: `source` (composed module), `vocab_size`, `seed`, `scales` (names of the ladder's
    scales) and, where an experiment has any, `checkers` (list of name, target, options).

    Raises:
        KeyError, InputError: the payload is not of this form, or names no known scale.
    """
    candidate = Candidate(subject)
    report = check_block(
        payload["source"],
        vocab_size=payload["vocab_size"],
        seed=payload["seed"],
        scales=payload["scales"],
        candidate=candidate,
    )
    return with_checkers(report, payload, candidate).to_json()
