"""The event log: what happened in a run, in the order of its decisions.

It is the only source of the progress display, the report and the trackers.  An event is
*decisive* when it follows from the experiment file, the seed and the results alone; the digest
covers those.  Times, resumptions and facts of the machine stand beside it and do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RUN_STARTED = "run.started"
RUN_RESUMED = "run.resumed"
RUN_INTERRUPTED = "run.interrupted"
RUN_STOPPED = "run.stopped"
RUN_FINISHED = "run.finished"
DESIGN_STARTED = "design.started"
DESIGN_ACCEPTED = "design.accepted"
DESIGN_REJECTED = "design.rejected"
DESIGN_DUPLICATE = "design.duplicate"
DESIGN_EXHAUSTED = "design.exhausted"
DESIGN_ABANDONED = "design.abandoned"
VERIFICATION_STARTED = "verification.started"
VERIFICATION_FINISHED = "verification.finished"
VERIFICATION_FAILED = "verification.failed"
RUNG_OPENED = "rung.opened"
GENERATION_FINISHED = "generation.finished"
BEST_CHANGED = "best.changed"
BUDGET_WARNING = "budget.warning"
WORKER_LOST = "worker.lost"
LLM_USED = "llm.used"
LLM_UNREACHABLE = "llm.unreachable"
LLM_REACHABLE = "llm.reachable"


@dataclass(frozen=True)
class Event:
    """One entry of the log; `at` is seconds since the epoch and never part of a decision."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    decisive: bool
    at: float


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_events(events: Iterable[Event]) -> str:
    """Return the SHA-256 over the decisive events, in order."""
    digest = hashlib.sha256()
    for event in events:
        if event.decisive:
            digest.update(f"{event.kind} {canonical_json(event.payload)}\n".encode())
    return digest.hexdigest()
