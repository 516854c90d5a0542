"""A ledger as a recording, which the back end `replay` plays and `[llm] recording` goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesys_engine.engine.llm.ledger import Call, Ledger
from genesys_engine.plugins.llm.recording import write_recording

TOOK = "recorded_latency_s"
"""Detail of a reply that was taken from a recording: the seconds that it took then."""


def record(ledger: Ledger, path: Path) -> int:
    """Write every answered request of `ledger` once, as it was answered first; return how many."""
    return write_recording(path, _lines(ledger))


def _lines(ledger: Ledger) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for call in ledger.calls():
        if call.key not in seen:
            seen.add(call.key)
            yield _line(call)


def _line(call: Call) -> dict[str, Any]:
    names = ("model", "role", "task", "request", "reply", "refused", "input_tokens")
    more = ("output_tokens", "usd", "details", "attempt")
    found = {name: getattr(call, name) for name in (*names, *more)}
    found["details"] = {k: v for k, v in call.details.items() if k != TOOK}
    took = float(call.details.get(TOOK, call.latency_s))
    return {"digest": call.request_digest, "latency_s": round(took, 3), **found}
