"""The display that a run's events are given to.

On a terminal a panel: designs, verifications per rung, best so far, what runs now, time left,
recent changes.  Elsewhere plain lines with a time.  An event costs the run a few microseconds;
the panel is drawn four times a second by a thread of its own, and plain lines of routine are
held back to one a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from genesys_engine.engine.cli.progress.display import Display
from genesys_engine.engine.common.text import duration, plural
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.views.lines import line_of
from genesys_engine.engine.views.run import RUNNING, WAITING, RunView
from genesys_engine.plugins import event_kinds as kinds

if TYPE_CHECKING:
    from rich.console import RenderableType

ROUTINE_EVERY_S = 1.0

_ROUTINE = {
    kinds.DESIGN_ACCEPTED,
    kinds.DESIGN_REJECTED,
    kinds.DESIGN_CONFIRMED,
    kinds.VERIFICATION_FINISHED,
}
_BEGINS_WORK = {kinds.DESIGN_STARTED, kinds.VERIFICATION_STARTED}
_SILENT = {
    kinds.DESIGN_STARTED,
    kinds.VERIFICATION_STARTED,
    kinds.CONFIRMATION_STARTED,
    kinds.DESIGN_DUPLICATE,
    kinds.DEVICE_USED,
    kinds.LLM_USED,
}


class Progress(Display):
    """Shows a run.

    `on_event` takes the events of the run, `on_past` those of its earlier sessions, `say` a
    message that is no event.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(stream, live=live, clock=clock)
        self.run = RunView()
        self._last_routine = float("-inf")
        self._held_back = 0

    def __exit__(self, *error: object) -> None:
        """Stop; print one line that sums up the run."""
        super().__exit__(*error)
        if self.run.started_at is not None:
            self._print(self._summary())

    def on_event(self, event: Event) -> None:
        """Take one event of the run."""
        with self._lock:
            self.run.apply(event)
            if event.kind in _BEGINS_WORK and not self._message.startswith("warning"):
                self._message = ""  # the preparation is over
            if self._live is None:
                self._line(event)

    def on_past(self, event: Event) -> None:
        """Take an event of an earlier session, already shown in that session."""
        with self._lock:
            self.run.apply(event)

    def _line(self, event: Event) -> None:
        """Print an event as a line: notable ones always, routine at most once a second."""
        if event.kind in _SILENT:
            return
        more = ""
        if event.kind in _ROUTINE:
            if self._clock() - self._last_routine < ROUTINE_EVERY_S:
                self._held_back += 1
                return
            more = f" (and {self._held_back} more)" if self._held_back else ""
            self._last_routine, self._held_back = self._clock(), 0
        self._print(line_of(event, self.run) + more)

    def _summary(self) -> str:
        run = self.run
        # There is no event yet for a run that stops here.
        state = "stopped" if run.state in (RUNNING, WAITING) else run.state
        done = f"{plural(run.accepted, 'design')}, {plural(run.verifications, 'verification')}"
        return f"{state}: {done} in {duration(run.elapsed_s(self._clock()))}"

    def _panel(self) -> RenderableType:
        from genesys_engine.engine.cli.progress.panel import panel

        with self._lock:
            return panel(self.run, self._clock(), self._message)
