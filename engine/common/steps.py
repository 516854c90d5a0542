"""How far a work of known size is, in lines: what is done, what comes next, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from genesys_engine.engine.common.text import duration

EVERY_S = 2.0
"""Seconds between two lines of a work whose parts are short."""
EARLY, EARLY_S = 0.1, 10.0
"""The part of a work, and the seconds, before which its pace says nothing: first parts start up."""


class Steps:
    """Says how far a work is, with the time left as the done part lets one expect it.

    Args:
        say: gets the lines.
        total: size of the whole work, in any unit.
        every_s: at most one line in so many seconds, the first after as many; 0 shows all.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        total: float,
        *,
        every_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.finished = 0.0
        self._say, self._every_s, self._clock = say, every_s, clock
        self._began = self._last = clock()
        self._begun = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self._began

    @property
    def share(self) -> float:
        """The part of the work that is done, 0 to 1."""
        return min(1.0, self.finished / self.total) if self.total else 1.0

    def done(self, size: float = 1.0) -> None:
        """Note that `size` more of the work is done."""
        self.finished += size

    def left_s(self) -> float | None:
        """Return the seconds left; None before enough is done to tell."""
        if not self.finished or (self.share < EARLY and self.elapsed_s < EARLY_S):
            return None
        return self.elapsed_s * max(0.0, self.total - self.finished) / self.finished

    def left(self, most_s: float | None = None) -> str:
        """Return `, about 12 s left`; nothing where that is not known, or nothing is left."""
        seconds = self.left_s()
        if not seconds:
            return ""
        seconds = seconds if most_s is None else min(seconds, most_s)
        return f", about {duration(max(1, round(seconds)))} left"

    def tell(self, what: str, most_s: float | None = None) -> None:
        """Say `what` with the time left, `most_s` at most, unless it is too soon for a line."""
        if self._clock() - self._last >= self._every_s:
            self._last = self._clock()
            self._say(what + self.left(most_s))

    def next(self, doing: str, what: str, most_s: float | None = None) -> None:
        """Say `doing 2/5: what`; all that was started before is done.

        The total is the number of such steps.
        """
        self.finished = self._begun
        self._begun += 1
        self.tell(f"{doing} {self._begun}/{self.total:g}: {what}", most_s)
