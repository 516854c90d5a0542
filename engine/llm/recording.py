"""A ledger as a recording, which the back end `replay` plays and `[llm] recording` goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesys_engine.engine.llm.ledger import Call, Ledger
from genesys_engine.plugins.api import LLMBackend, LLMPrice, LLMReply, LLMRequest
from genesys_engine.plugins.llm.recording import write_recording
from genesys_engine.plugins.llm.replay import ReplayBackend, ReplayOptions, recorded_reply

TOOK = "recorded_latency_s"
"""Detail of a reply that was taken from a recording: the seconds that it took then."""


class Continued:
    """A back end whose answers in a recording are taken from there; the rest it is asked itself.

    `name` is what the recording calls the model: only its own replies are taken.
    """

    def __init__(self, backend: LLMBackend, name: str, path: str) -> None:
        self._backend = backend
        self._recording = ReplayBackend(ReplayOptions(path=path, model=name))

    @property
    def price(self) -> LLMPrice | None:
        """That of the back end."""
        price: LLMPrice | None = getattr(self._backend, "price", None)
        return price

    def prepare(self) -> None:
        """Raise `InputError` where the recording or the back end cannot be used."""
        self._recording.prepare()
        prepare = getattr(self._backend, "prepare", None)
        if prepare is not None:
            prepare()

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the recorded reply or ask for one; see `LLMBackend`."""
        call = self._recording.find(request)
        if call is None:
            return self._backend.complete(request)
        return recorded_reply(call, {TOOK: call.get("latency_s", 0.0)})

    def close(self) -> None:
        """Close the back end."""
        self._backend.close()


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
