"""Replies from a list: for tests, and for trying a prompt without a model."""

from __future__ import annotations

import hashlib

from genesys_engine.plugins.api import Field, LLMPrice, LLMReply, LLMRequest, Options


class ScriptedOptions(Options):
    """The replies."""

    replies: tuple[str, ...] = Field(
        min_length=1, description="one is taken for each request, by the request alone"
    )
    by_unit: dict[str, str] = Field(
        default_factory=dict, description="replies to requests about the unit of this name"
    )


class ScriptedBackend:
    """Answers each request with one of the replies, chosen by its text and seed.

    Equal requests therefore get equal replies, in any order.
    """

    Options = ScriptedOptions
    live = False
    price = LLMPrice(0.0, 0.0)

    def __init__(self, options: ScriptedOptions) -> None:
        self.options = options

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the reply; a token is taken for three characters."""
        text = self._choose(request)
        asked = sum(len(part) for _, part in request.messages)
        return LLMReply(text, 1 + asked // 3, 1 + len(text) // 3, usd=0.0)

    def close(self) -> None:
        """Nothing is held."""

    def _choose(self, request: LLMRequest) -> str:
        named = self.options.by_unit.get(str(request.purpose.get("unit", "")))
        if named is not None:
            return named
        asked = repr((request.messages, request.seed)).encode()
        number = int.from_bytes(hashlib.sha256(asked).digest()[:8], "big")
        return self.options.replies[number % len(self.options.replies)]
