"""The event log: what happened in a run, in the order of its decisions.

It is the only source of the progress display, the report and the trackers.  An event is
*decisive* when it follows from the experiment file, the seed and the results alone; the digest
covers those.  Times, resumptions and facts of the machine stand next to it and do not count.  The
kinds are named in `plugins.event_kinds`, since plugins read them too; `event_types` says what each
holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.store import node_events as node_events  # its kinds can be read then
from genesys_engine.engine.store.columns import unreadable
from genesys_engine.engine.store.event_types import EventRecord, record_of


@dataclass(frozen=True)
class Event:
    """One entry of the log; `at` is seconds since the epoch and never part of a decision.

    `payload` is the JSON as it stands in the log, which the digest and plugins are given.
    """

    id: int
    kind: str
    payload: Mapping[str, object]
    decisive: bool
    at: float

    @cached_property
    def record(self) -> EventRecord | None:
        """What it holds; None where this version does not know its kind.

        Raises:
            sqlite3.DatabaseError: the payload does not fit the kind.
        """
        with unreadable(f"event {self.id}, {self.kind}"):
            return record_of(self.kind, self.payload)


def digest_events(events: Iterable[Event]) -> str:
    """Return the SHA-256 over the decisive events, in order."""
    digest = hashlib.sha256()
    for event in events:
        if event.decisive:
            digest.update(f"{event.kind} {canonical_json(event.payload)}\n".encode())
    return digest.hexdigest()
