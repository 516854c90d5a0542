"""How far a study is: bars on a terminal, a line for each result elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from genesys_engine.engine.cli.progress.display import Display
from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.common.terminal import styled
from genesys_engine.engine.common.text import count, duration, percent
from genesys_engine.engine.compare.results import AnyResult, Implemented

if TYPE_CHECKING:
    from rich.console import RenderableType

_BAR_WIDTH = 28


class StudyProgress(Display):
    """Shows a study."""

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        super().__init__(stream, live=live)
        self._planned: dict[str, int] = {}
        self._done: dict[str, list[AnyResult]] = {}
        self._steps = Steps(self._print, 0)

    def on_plan(self, planned: Sequence[tuple[str, int]], results: Sequence[AnyResult]) -> None:
        """Take what is to be done and what is done already."""
        with self._lock:
            self._planned = dict(planned)
            self._done = {name: [r for r in results if r.arm == name] for name in self._planned}
            self._steps = Steps(self._print, sum(self._planned.values()) - self._count())
        if self._live is None:
            self._print(f"{self._count()} of {sum(self._planned.values())} results are there")

    def on_result(self, result: AnyResult) -> None:
        """Take a result that was just recorded."""
        with self._lock:
            self._done.setdefault(result.arm, []).append(result)
            self._steps.done()
        if self._live is None:
            total = sum(self._planned.values())
            line = f"{self._count()}/{total} {result.item} {result.arm}: {outcome_text(result)}"
            self._steps.tell(line)

    def _count(self) -> int:
        return sum(map(len, self._done.values()))

    def _panel(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        with self._lock:
            table = Table.grid(padding=(0, 2))
            for name, planned in self._planned.items():
                done = self._done[name]
                good = [r for r in done if isinstance(r.made, Implemented) and r.made.valid]
                words = f"{len(done)}/{planned}" + (f", {len(good)} valid" if good else "")
                bar = ProgressBar(total=max(1, planned), completed=len(done), width=_BAR_WIDTH)
                table.add_row(styled(name), bar, styled(words))
            state = f"{duration(self._steps.elapsed_s)}{self._steps.left()}  {self._message}"
            return Group(table, styled(state, style="dim"))


def outcome_text(result: AnyResult) -> str:
    """Return a result in words."""
    made, seconds = result.made, duration(result.seconds)
    if isinstance(made, Implemented):
        outcome = "valid" if made.valid else made.failure
        return f"{outcome}, {count(made.used.tokens)} tokens, {seconds}"
    return f"best {percent(made.best)}, {seconds}"
