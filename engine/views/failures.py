"""What was rejected, what failed and what was dropped, by cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from genesys_engine.engine.store import event_types as events
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store

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

    def to_json(self) -> dict[str, object]:
        """Return the cause as the command line gives it out."""
        return asdict(self)


class Failures:
    """The causes so far: a fold over the log."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Failure] = {}

    def apply(self, event: Event) -> None:
        """Take one event into account."""
        for stage, cause, design, reason in _causes(event):
            entry = self._found.setdefault((stage, cause), Failure(stage, cause))
            entry.count += 1
            if design is not None:
                entry.designs.append(design)
            if entry.example is None:
                entry.example, entry.reason = design, reason

    def ranked(self) -> list[Failure]:
        """Return the causes, most frequent first."""
        return sorted(self._found.values(), key=lambda f: (-f.count, f.stage, f.cause))


def failures(store: Store) -> list[Failure]:
    """Return the causes, most frequent first."""
    found = Failures()
    for event in store.events():
        found.apply(event)
    return found.ranked()


def _causes(event: Event) -> Iterator[tuple[str, str, int | None, str]]:
    """Yield (stage, cause, design, reason) of an event that tells of a failure."""
    match event.record:
        case events.DesignRejected() as found:
            for code in dict.fromkeys(found.codes):
                yield CHECK, code, found.design, found.change
        case events.DesignDuplicate() as found:
            yield VARIATION, "duplicate", found.of, found.change
        case events.DesignExhausted() as found:
            yield VARIATION, "exhausted", None, found.reason
        case events.DesignAbandoned() as found:
            yield VARIATION, found.code, None, found.reason
        case events.VerificationFailed() as found:
            yield TRAINING, found.cause, found.design, found.reason
        case events.DesignDisqualified() as found:
            yield SECOND_LOOK, "disqualified", found.design, found.reason
