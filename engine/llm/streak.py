"""Designs in a row that are given up for the same reason: the model, not the ideas, is at fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesys_engine.engine.llm.gateway import LLMOutage

UNREADABLE = ("proposal.malformed", "reply.", "llm.refused")
"""How codes begin that say of themselves that a model's replies are of no use."""


class LLMNoUse(LLMOutage):
    """What a model replies cannot be used, time after time; the run can be resumed."""


class Streak:
    """Counts equal failures in a row, over one session.

    Args:
        most: so many end the run; 0 is no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reason: tuple[str, str] | None = None
        self._count = 0

    def note(self, result: Mapping[str, Any]) -> bool:
        """Note what came of a design task; tell whether it is time to stop."""
        abandoned = result.get("abandoned")
        reason = None if abandoned is None else _reason(abandoned)
        self._count = self._count + 1 if reason is not None and reason == self._reason else 1
        self._reason = reason
        return reason is not None and 0 < self._most <= self._count

    def error(self, abandoned: Mapping[str, Any], seq: int, place: str) -> LLMNoUse:
        """Return what ends the run: the failure, what was said, and where to look.

        Args:
            abandoned: the last failure.
            seq: its task.
            place: the model and its address.
        """
        said = f"; its last reply begins {abandoned['reply']!r}" if abandoned.get("reply") else ""
        return LLMNoUse(
            f"the last {self._count} designs were given up alike: {abandoned['code']}:"
            f" {abandoned['reason']}{said}",
            where=place,
            hint=f"read a whole exchange: genesys-engine llm show RUN t{seq}. Does `api_base` lead"
            " to the model that you mean, is it able enough, and does its server hold replies to a"
            " schema (`json_schema = true`)? Resume goes on; [llm] stop_after_failures says after"
            " how many equal failures a run stops",
        )


def _reason(abandoned: Mapping[str, Any]) -> tuple[str, str]:
    """Return what equal failures have in common: the code, and the sentence where it matters."""
    code = str(abandoned["code"])
    return code, "" if code.startswith(UNREADABLE) else str(abandoned["reason"])
