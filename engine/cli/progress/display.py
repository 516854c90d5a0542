"""What every live display is: a panel on a terminal, lines with a time elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TextIO

from genesys_engine.engine.common.terminal import open_panel, stamped

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


class Display(ABC):
    """Shows work; a context manager, so that the terminal is always left in order.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Show on `stream` (stderr), as a panel if it is a terminal or `live` says so."""
        self._stream = sys.stderr if stream is None else stream
        self._is_live = self._stream.isatty() if live is None else live
        self._clock = clock
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._message = ""

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._is_live:
            self._live = open_panel(self._stream, self._panel)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Show a message at once."""
        with self._lock:
            self._message = text
            if self._live is None:
                self._print(text)

    def _print(self, text: str) -> None:
        stamped(text, self._clock(), self._stream)

    @abstractmethod
    def _panel(self) -> RenderableType:
        """Return what a terminal shows now."""
