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

from genesys_engine.plugins.event_kinds import (
    BEST_CHANGED,
    BUDGET_WARNING,
    DESIGN_ABANDONED,
    DESIGN_ACCEPTED,
    DESIGN_DUPLICATE,
    DESIGN_EXHAUSTED,
    DESIGN_REJECTED,
    DESIGN_STARTED,
    ERROR_HANDLED,
    FINALS_OPENED,
    GENERATION_FINISHED,
    LLM_REACHABLE,
    LLM_UNREACHABLE,
    LLM_USED,
    RUN_FINISHED,
    RUN_INTERRUPTED,
    RUN_RESUMED,
    RUN_STARTED,
    RUN_STOPPED,
    RUNG_OPENED,
    VERIFICATION_FAILED,
    VERIFICATION_FINISHED,
    VERIFICATION_STARTED,
    WORKER_LOST,
)

__all__ = [
    "BEST_CHANGED",
    "BUDGET_WARNING",
    "DESIGN_ABANDONED",
    "DESIGN_ACCEPTED",
    "DESIGN_DUPLICATE",
    "DESIGN_EXHAUSTED",
    "DESIGN_REJECTED",
    "DESIGN_STARTED",
    "ERROR_HANDLED",
    "FINALS_OPENED",
    "GENERATION_FINISHED",
    "LLM_REACHABLE",
    "LLM_UNREACHABLE",
    "LLM_USED",
    "RUNG_OPENED",
    "RUN_FINISHED",
    "RUN_INTERRUPTED",
    "RUN_RESUMED",
    "RUN_STARTED",
    "RUN_STOPPED",
    "VERIFICATION_FAILED",
    "VERIFICATION_FINISHED",
    "VERIFICATION_STARTED",
    "WORKER_LOST",
    "Event",
    "canonical_json",
    "digest_events",
]


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
