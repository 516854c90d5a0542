"""Consecutive designs abandoned for the same reason: the model, not the ideas, is at fault."""

from __future__ import annotations

from genesys_engine.engine.jobs.results import Abandoned
from genesys_engine.engine.llm.gateway import Gateway, LLMOutage

UNREADABLE = ("proposal.malformed", "reply.", "llm.refused")
"""How codes begin that say of themselves that a model's replies are of no use."""


class LLMNoUse(LLMOutage):
    """What a model replies cannot be used, time after time; the run can be resumed."""


class Streak:
    """Counts equal failures in a row, over one session; `gateway` says how many end the run."""

    def __init__(self, gateway: Gateway | None) -> None:
        self._gateway = gateway
        self._reason: tuple[str, str] | None = None
        self._count = 0

    def note(self, seq: int, abandoned: Abandoned | None) -> None:
        """Note why the design of the task `seq` was abandoned, None where it was not.

        Raises:
            LLMNoUse: that was one too many.
        """
        reason = None if abandoned is None else _reason(abandoned)
        self._count = self._count + 1 if reason == self._reason else 1
        self._reason = reason
        most = 0 if self._gateway is None else self._gateway.stop_after_failures
        if abandoned is not None and self._gateway is not None and 0 < most <= self._count:
            place = self._gateway.place(abandoned.role or "")
            raise _error(self._count, seq, abandoned, place)


def _error(count: int, seq: int, abandoned: Abandoned, place: str) -> LLMNoUse:
    """Return what ends a run: the failure, what was reported, and where to look."""
    last = f"; its last reply starts with {abandoned.reply!r}" if abandoned.reply else ""
    return LLMNoUse(
        f"the last {count} designs were abandoned for the same reason: {abandoned.code}:"
        f" {abandoned.reason.rstrip('.')}{last}",
        where=place or "[llm]",
        hint=f"read a full exchange: genesys-engine llm show RUN t{seq}. Check that `api_base`"
        " serves the intended model, that the model is capable enough, and that its server"
        " enforces schemas (`json_schema = true`); then resume. [llm] stop_after_failures limits"
        " equal failures in a row",
    )


def _reason(abandoned: Abandoned) -> tuple[str, str]:
    """Return what equal failures have in common: the code, and the sentence where it matters."""
    code = abandoned.code
    return code, "" if code.startswith(UNREADABLE) else abandoned.reason
