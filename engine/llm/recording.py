"""A ledger as a recording, for the back end `replay` and for `[llm] recording`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from pydantic import JsonValue

from genesys_engine.engine.llm.ledger import Call, Ledger, call_key
from genesys_engine.plugins.llm.recording import write_recording

Line = Mapping[str, JsonValue]
"""A call as a recording has it, in JSON."""
TOOK = "recorded_latency_s"
"""Detail of a reply that was taken from a recording: the seconds that it took then."""


def record(path: Path, *sources: Iterable[Line]) -> int:
    """Write every request of some sources once, as it was answered first; return how many.

    Args:
        path: the recording.  It may be one of those that are read.
        sources: lines of recordings, as `lines_of` and `read_recording` give them.
    """
    return write_recording(path, _once(chain.from_iterable(sources)))


def lines_of(ledger: Ledger) -> Iterator[Line]:
    """Yield the answered calls of a ledger as a recording has them."""
    return map(_line, ledger.calls())


def _once(lines: Iterable[Line]) -> Iterator[Line]:
    seen: set[str] = set()
    for line in lines:
        key = call_key(str(line.get("model", "")), str(line["digest"]))
        if key not in seen:
            seen.add(key)
            yield line


def _line(call: Call) -> Line:
    names = ("model", "role", "task", "request", "reply", "refused", "input_tokens")
    more = ("output_tokens", "usd", "details", "attempt")
    found = {name: getattr(call, name) for name in (*names, *more)}
    found["details"] = {k: v for k, v in call.details.items() if k != TOOK}
    known = call.details.get(TOOK)
    took = float(known) if isinstance(known, int | float) else call.latency_s
    return {
        "digest": call.request_digest,
        "latency_s": round(took, 3),
        **found,
    }
