"""Ctrl-C: the first one ends a run after the trials under way, the second one at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = "interrupted"


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Callable[[], str | None]]:
    """Yield a function that returns the reason to stop, None until Ctrl-C or SIGTERM."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        with suppress(RuntimeError):  # the main thread was just writing to the same stream
            say("stopping: what is under way is finished first; Ctrl-C again ends at once")

    saved = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: INTERRUPTED if asked else None
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)
