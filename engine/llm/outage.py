"""Since when a service has not answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

TELL_AFTER = 3
"""Failures in a row before a person is told: one or two are everyday life."""


class Outage:
    """Counts the failures of one back end, over all threads, and tells once that it is out.

    Args:
        tell: is told a reason when the outage is certain, and None when it is over.
    """

    def __init__(self, tell: Callable[[str | None], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._failures = 0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """For how long there has been no answer; 0 while all is well."""
        with self._lock:
            return 0.0 if self._since is None else time.monotonic() - self._since

    def failed(self, reason: str) -> None:
        """Note that a call could not be answered."""
        with self._lock:
            self._failures += 1
            self._since = self._since or time.monotonic()
            certain = self._failures == TELL_AFTER
        if certain:
            self._tell(reason)

    def answered(self) -> None:
        """Note an answer."""
        with self._lock:
            told = self._failures >= TELL_AFTER
            self._failures, self._since = 0, None
        if told:
            self._tell(None)
