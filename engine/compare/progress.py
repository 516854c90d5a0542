"""How far a study is: bars on a terminal, a line for each result elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.common.terminal import open_panel, stamped, styled
from genesys_engine.engine.common.text import count, duration, percent
from genesys_engine.engine.compare.store import Result

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_BAR_WIDTH = 28


class StudyProgress:
    """Shows a study; a context manager, so that the terminal is always left in order."""

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_live = self._stream.isatty() if live is None else live
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._planned: dict[str, int] = {}
        self._done: dict[str, list[Result]] = {}
        self._message = ""
        self._steps = Steps(self._print, 0)

    def __enter__(self) -> StudyProgress:
        if self._is_live:
            self._live = open_panel(self._stream, self._panel)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def on_plan(self, planned: Sequence[tuple[str, int]], results: Sequence[Result]) -> None:
        """Take what is to be done and what is done already."""
        with self._lock:
            self._planned = dict(planned)
            self._done = {name: [r for r in results if r.arm == name] for name in self._planned}
            self._steps = Steps(self._print, sum(self._planned.values()) - self._count())
        if self._live is None:
            self._print(f"{self._count()} of {sum(self._planned.values())} results are there")

    def on_result(self, result: Result) -> None:
        """Take a result that was just recorded."""
        with self._lock:
            self._done.setdefault(result.arm, []).append(result)
            self._steps.done()
        if self._live is None:
            total = sum(self._planned.values())
            line = f"{self._count()}/{total} {result.item} {result.arm}: {outcome_text(result)}"
            self._steps.tell(line)

    def say(self, text: str) -> None:
        """Show a message at once."""
        with self._lock:
            self._message = text
        if self._live is None:
            self._print(text)

    def _count(self) -> int:
        return sum(map(len, self._done.values()))

    def _print(self, text: str) -> None:
        stamped(text, time.time(), self._stream)

    def _panel(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        with self._lock:
            table = Table.grid(padding=(0, 2))
            for name, planned in self._planned.items():
                done = self._done[name]
                good = [r for r in done if "usage" in r.payload and r.payload["valid"]]
                words = f"{len(done)}/{planned}" + (f", {len(good)} valid" if good else "")
                bar = ProgressBar(total=max(1, planned), completed=len(done), width=_BAR_WIDTH)
                table.add_row(styled(name), bar, styled(words))
            outcome_text = f"{duration(self._steps.elapsed_s)}{self._steps.left()}  {self._message}"
            return Group(table, styled(outcome_text, style="dim"))


def outcome_text(result: Result) -> str:
    """Return a result in words."""
    payload = result.payload
    if "usage" in payload:  # of an implementation study
        from genesys_engine.engine.compare.caps import tokens_of

        outcome = "valid" if payload["valid"] else payload["failure"]
        tokens = count(tokens_of(payload))
        return f"{outcome}, {tokens} tokens, {duration(result.seconds)}"
    return f"best {percent(payload['best'])}, {duration(result.seconds)}"
