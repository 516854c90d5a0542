"""Ctrl-C, SIGTERM and SIGHUP: the first ends a run after the running trials, a second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = "interrupted"
_STREAMS = (0, 1, 2)


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Callable[[], str | None]]:
    """Yield a function that returns the reason to stop, None until one of the signals comes."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        leave_terminals(terminals)
        if asked:
            raise KeyboardInterrupt
        asked = True
        with suppress(RuntimeError):  # the main thread was just writing to the same stream
            say("stopping: finishing running trials; Ctrl-C again to abort")

    terminals = open_terminals()
    saved = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        yield lambda: INTERRUPTED if asked else None
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


def end_like_ctrl_c() -> None:
    """Have SIGTERM and SIGHUP end this process as Ctrl-C does: what is temporary is removed first.

    A signal that whoever started us had ignored (`nohup`) stays so.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        leave_terminals(terminals)
        raise KeyboardInterrupt

    terminals = open_terminals()
    for number in ending_signals():
        if number != signal.SIGINT:
            signal.signal(number, handle)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask a command to end; SIGHUP unless it is ignored, as by `nohup`."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)  # not on every system
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


def open_terminals() -> list[int]:
    """Return which of the standard streams are terminals."""
    return [stream for stream in _STREAMS if _is_terminal(stream)]


def leave_terminals(streams: list[int]) -> None:
    """Write into nothing from now on where a terminal is gone: a write there would be an error."""
    for stream in streams:
        if not _is_terminal(stream):
            with suppress(OSError):
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, stream)
                os.close(null)


def _is_terminal(stream: int) -> bool:
    try:
        return os.isatty(stream)
    except OSError:  # closed
        return False
