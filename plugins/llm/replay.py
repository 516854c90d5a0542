"""The replies of a recorded ledger, played again: no model, no network, no key."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import (
    INCIDENTAL,
    PATH,
    Field,
    LLMPrice,
    LLMRefused,
    LLMReply,
    LLMRequest,
    LLMRequestRefused,
    Options,
)
from genesys_engine.plugins.llm.recording import read_recording
from genesys_engine.plugins.llm.requests import canonical_request, request_digest

SHOWN = 60  # characters of a difference


class RecordedRefusal(LLMRequestRefused):
    """The request was refused when it was recorded."""


class ReplayOptions(Options):
    """The recording, identified by `sha256`, or by nothing where that is left out."""

    path: str = Field(
        min_length=1,
        description="file that `genesys-engine llm record` wrote",
        json_schema_extra=PATH | INCIDENTAL,
    )
    sha256: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="of the file, in hex; checked if given"
    )
    model: str = Field(
        "", description="only replies of this model; left out: of whichever answered first"
    )


class ReplayBackend:
    """Answers from a recording, with the recorded tokens and prices.

    Other requests are refused; the message says how they differ from the nearest recorded one.
    """

    Options = ReplayOptions
    live = False

    def __init__(self, options: ReplayOptions) -> None:
        self.options = options
        self._reading = threading.Lock()

    @cached_property
    def price(self) -> LLMPrice | None:
        """Nothing, next to the recorded costs; unknown where one of those is."""
        with self._reading:
            costs = [
                call.get("usd") for call in self._calls.values() if call.get("reply") is not None
            ]
        return None if None in costs else LLMPrice(0.0, 0.0)

    def prepare(self) -> None:
        """Raise `InputError` where the recording is missing, damaged or another."""
        path = Path(self.options.path).expanduser()
        if self.options.sha256 and path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != self.options.sha256:
                raise InputError(
                    f"the recording is another one: its SHA-256 is {found}", where=str(path)
                )
        with self._reading:
            _ = self._calls

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the recorded reply; see `LLMBackend`."""
        call = self.find(request)
        if call is None:
            raise LLMRefused(
                f"this request is not in the recording: {self._difference(request)}",
                where=self.options.path,
                hint="what asks has changed since it was recorded: the experiment, the prompts or"
                " the version; record it again",
            )
        return recorded_reply(call, {"recorded": call.get("model", "")})

    def find(self, request: LLMRequest) -> Mapping[str, Any] | None:
        """Return the recorded call of a request, or None."""
        with self._reading:
            return self._calls.get(request_digest(request))

    def close(self) -> None:
        """Nothing is held but memory."""

    @cached_property
    def _calls(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for call in read_recording(Path(self.options.path).expanduser()):
            if self.options.model in ("", call.get("model")):
                found.setdefault(call["digest"], call)
        return found

    def _difference(self, request: LLMRequest) -> str:
        """Return in words how the nearest recorded request differs."""
        if not self._calls:
            return "it holds none" + (f" of {self.options.model}" if self.options.model else "")
        asked = canonical_request(request)
        recorded = [call["request"] for call in self._calls.values() if "request" in call]
        nearest = max(recorded, key=lambda other: _likeness(asked, other), default=None)
        if nearest is None:
            return "it was written without requests"
        for name in ("seed", "temperature", "max_tokens", "schema"):
            if asked["messages"] == nearest["messages"] and asked[name] != nearest[name]:
                return f"{name} is {_short(asked[name])}, recorded is {_short(nearest[name])}"
        return _words_differ(asked["messages"], nearest["messages"])


def recorded_reply(call: Mapping[str, Any], details: Mapping[str, Any]) -> LLMReply:
    """Return the reply of a recorded call, with the tokens and cost of then and more details.

    Raises:
        RecordedRefusal: the call ended so.
    """
    if call.get("reply") is None:
        raise RecordedRefusal(str(call.get("refused")))
    counts = (call.get("input_tokens"), call.get("output_tokens"))
    return LLMReply(call["reply"], *counts, {**call.get("details", {}), **details}, call.get("usd"))


def _likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[int, int]:
    """Return (characters that the messages share from the start, equal parameters)."""
    shared = 0
    for (_, mine), (_, theirs) in zip(one["messages"], other["messages"], strict=False):
        same = _shared(mine, theirs)
        shared += same
        if same < max(len(mine), len(theirs)):
            break
    names = ("seed", "temperature", "max_tokens", "schema")
    return shared, sum(one[name] == other[name] for name in names)


def _words_differ(mine: list[list[str]], theirs: list[list[str]]) -> str:
    for number, (one, other) in enumerate(zip(mine, theirs, strict=False), 1):
        if one != other:
            same = _shared(one[1], other[1])
            asked, recorded = (_short(text[1][same:]) for text in (one, other))
            return (
                f"message {number} differs from character {same} on: asked {asked}, recorded"
                f" {recorded}"
            )
    return f"it has another number of messages, {len(mine)}, than the nearest one, {len(theirs)}"


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts share from the start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
