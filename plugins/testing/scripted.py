"""A language model that says what a test wrote, for operators that ask one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from genesys_engine.plugins.api import ROLES, LLMRefused, LLMReply, LLMRequest, LLMUsage


class ScriptedLLM:
    """Implements `api.LLM`: gives its replies in order and keeps what was asked.

    Args:
        replies: texts, or errors to raise, such as `api.BudgetSpent()`.

    `asked` holds (role, request).  An equal request gets the equal reply, as from the record of a
    run; one that is out of replies is refused.
    """

    def __init__(self, replies: Iterable[str | Exception]) -> None:
        self.asked: list[tuple[str, LLMRequest]] = []
        self._replies = iter(replies)
        self._known: dict[tuple[str, str], LLMReply] = {}
        self._usage: dict[str, LLMUsage] = {}

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the next reply; counts are words."""
        assert role in ROLES, f"unknown role {role!r}: one of {', '.join(ROLES)}"
        self.asked.append((role, request))
        key = (role, repr(request))
        if key not in self._known:
            self._known[key] = self._next(request)
        reply, used = self._known[key], self._usage.get(role, LLMUsage())
        self._usage[role] = replace(
            used,
            calls=used.calls + 1,
            input_tokens=used.input_tokens + (reply.input_tokens or 0),
            output_tokens=used.output_tokens + (reply.output_tokens or 0),
        )
        return reply

    def usage(self) -> Mapping[str, LLMUsage]:
        """Return what was used so far, by role."""
        return dict(self._usage)

    def _next(self, request: LLMRequest) -> LLMReply:
        reply = next(self._replies, None)
        if reply is None:
            raise LLMRefused("the script has no further reply")
        if isinstance(reply, Exception):
            raise reply
        words = sum(len(text.split()) for _, text in request.messages)
        return LLMReply(reply, words, len(reply.split()))
