"""A line of progress from a command that has printed nothing for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable

import click

AFTER_S = 0.6  # with the start of Python, below a second


class Waiting:
    """Calls `say` once, unless `over` was called before."""

    def __init__(self, say: Callable[[], None], after_s: float = AFTER_S) -> None:
        self._timer = threading.Timer(after_s, say)
        self._timer.daemon = True  # the program may end first
        self._timer.start()

    def over(self) -> None:
        """Note that something was shown, or that nothing will be; safe to call again."""
        self._timer.cancel()


def begin(program: str, command: str) -> Waiting:
    """Begin to wait for the first words of a command."""
    return Waiting(lambda: click.echo(f"{program} {command}: starting", err=True))
