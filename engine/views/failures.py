"""What was rejected, what failed and what was dropped, by cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins import event_kinds as kinds

CHECK, TRAINING, VARIATION = "check", "verification", "variation"
SECOND_LOOK = "second look"


@dataclass
class Failure:
    """One cause: how often it came up, and one example of it.

    `stage` says what ended early: the check of a child, its verification, the audit of it, or
    the variation (a duplicate, no child at all, or a design that its operator gave up).  A child
    that breaks several rules counts under each.
    """

    stage: str
    cause: str
    count: int = 0
    example: int | None = None
    reason: str = ""
    designs: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the cause as the command line gives it out."""
        return asdict(self)


def failures(store: Store) -> list[Failure]:
    """Return the causes, most frequent first."""
    found: dict[tuple[str, str], Failure] = {}
    for event in store.events():
        for stage, cause, design, reason in _causes(event):
            entry = found.setdefault((stage, cause), Failure(stage, cause))
            entry.count += 1
            if design is not None:
                entry.designs.append(design)
            if entry.example is None:
                entry.example, entry.reason = design, reason
    return sorted(found.values(), key=lambda f: (-f.count, f.stage, f.cause))


def _causes(event: Event) -> Iterator[tuple[str, str, int | None, str]]:
    """Yield (stage, cause, design, reason) of an event that tells of a failure."""
    payload = event.payload
    if event.kind == kinds.DESIGN_REJECTED:
        for code in dict.fromkeys(payload["codes"]):
            yield CHECK, code, payload["design"], payload["change"]
    elif event.kind == kinds.DESIGN_DUPLICATE:
        yield VARIATION, "duplicate", payload["of"], payload["change"]
    elif event.kind == kinds.DESIGN_EXHAUSTED:
        yield VARIATION, "exhausted", None, payload["reason"]
    elif event.kind == kinds.DESIGN_ABANDONED:
        yield VARIATION, payload["code"], None, payload["reason"]
    elif event.kind == kinds.VERIFICATION_FAILED:
        yield TRAINING, payload["cause"], payload["design"], payload["reason"]
    elif event.kind == kinds.DESIGN_DISQUALIFIED:
        yield SECOND_LOOK, "disqualified", payload["design"], payload["reason"]
