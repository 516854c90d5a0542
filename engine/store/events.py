"""The event log: what happened in a run, in the order of its decisions.

It is the only source of the progress display, the report and the trackers.  An event is
*decisive* when it follows from the experiment file, the seed and the results alone; the digest
covers those.  Times, resumptions and facts of the machine stand next to it and do not count.  The
kinds are named in `plugins.event_kinds`, since plugins read them too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.common.canonical import canonical_json


@dataclass(frozen=True)
class Event:
    """One entry of the log; `at` is seconds since the epoch and never part of a decision."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    decisive: bool
    at: float


def digest_events(events: Iterable[Event]) -> str:
    """Return the SHA-256 over the decisive events, in order."""
    digest = hashlib.sha256()
    for event in events:
        if event.decisive:
            digest.update(f"{event.kind} {canonical_json(event.payload)}\n".encode())
    return digest.hexdigest()
