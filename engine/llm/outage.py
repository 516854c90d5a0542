"""Since when a service has not answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

TELL_AFTER = 3
"""Failures in a row before a user is informed: one or two are everyday life."""
LONG_PAUSE_S = 10.0
"""Before a pause as long as this a user is informed at once."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a service, `kind` as in `LLMUnavailable`, and when it is asked next."""

    kind: str
    reason: str
    next_try_s: float


class Outage:
    """Counts the failures of one back end, over all threads, and tells once that it is out.

    Args:
        tell: called with the fault when the outage is certain, and None when it is over.
    """

    def __init__(self, tell: Callable[[Fault | None], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._failures = 0
        self._reported = False
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """For how long there has been no answer; 0 while all is well."""
        with self._lock:
            return 0.0 if self._since is None else time.monotonic() - self._since

    def failed(self, fault: Fault) -> None:
        """Note that a call could not be answered."""
        with self._lock:
            self._failures += 1
            self._since = self._since or time.monotonic()
            sure = self._failures >= TELL_AFTER or fault.next_try_s >= LONG_PAUSE_S
            news, self._reported = sure and not self._reported, self._reported or sure
        if news:
            self._tell(fault)

    def answered(self) -> None:
        """Note an answer."""
        with self._lock:
            reported, self._reported = self._reported, False
            self._failures, self._since = 0, None
        if reported:
            self._tell(None)
