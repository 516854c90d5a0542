"""One run as it is watched: its log folded from an event number on, its results read once.

Every look opens the database anew, read-only, and closes it: a run that is deleted, restored or
started again in the same folder is noticed, and nobody who writes ever waits for a browser.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from genesys_engine.engine.store.run_store import Record, Store, VerificationRow
from genesys_engine.engine.views.failures import Failures, failures
from genesys_engine.engine.views.history import History, history
from genesys_engine.engine.views.lines import line_of
from genesys_engine.engine.views.reading import ReadOnce
from genesys_engine.engine.views.run import RunView, view
from genesys_engine.gab.errors import GenesysError
from genesys_engine.plugins import event_kinds as kinds

T = TypeVar("T")


MOST_LINES = 60
UNTOLD = (kinds.DESIGN_STARTED, kinds.VERIFICATION_STARTED, kinds.DEVICE_USED, kinds.LLM_USED,
          kinds.CONFIRMATION_STARTED)  # fmt: skip
"""Events that say nothing to a reader which the next one does not say as well."""


@dataclass(frozen=True)
class LogLine:
    """An event in words; `at` is seconds since the epoch."""

    event: int
    at: float
    kind: str
    text: str


class Folded:
    """What is kept of a run between two looks: folds over its log, and its verifications."""

    def __init__(self, name: str) -> None:
        self.event = 0
        self.log: deque[LogLine] = deque(maxlen=MOST_LINES)
        self.run = RunView(name=name)
        self.history = History()
        self.failures = Failures()
        self.verifications: list[VerificationRow] = []
        self.by_design: dict[int, list[VerificationRow]] = {}

    def follow(self, store: Store) -> None:
        """Take into account what is new in a store."""
        told_from = store.last_event() - MOST_LINES
        for event in store.events(after=self.event):
            self.run.apply(event)
            if event.id > told_from and event.kind not in UNTOLD:
                self.log.append(LogLine(event.id, event.at, event.kind, line_of(event, self.run)))
            self.history.apply(event, self.run)
            self.failures.apply(event)
            self.event = event.id
        last = self.verifications[-1].id if self.verifications else -1
        for row in store.verifications(after=last):
            self.verifications.append(row)
            self.by_design.setdefault(row.design, []).append(row)


class Moment(ReadOnce):
    """A run at one event of its log: what views read is read once, or was known before."""

    def __init__(self, store: Store, folded: Folded, *, alive: bool) -> None:
        super().__init__(store)
        self.event = folded.event
        self.run = folded.run
        self.log = folded.log
        self._folded = folded
        self._alive = alive
        self._folds: Mapping[Callable[[Store], object], Callable[[], object]] = {
            view: lambda: folded.run,
            history: lambda: folded.history.points(self),
            failures: folded.failures.ranked,
        }

    def once(self, read: Callable[[Store], T]) -> T:
        """Return what `read` makes of the run, made once, or folded before."""
        if read not in self._made and (fold := self._folds.get(read)) is not None:
            self._made[read] = fold()
        return super().once(read)

    def being_written(self) -> bool:
        """Tell whether a process worked on the run right before its log was read."""
        return self._alive

    def verifications(
        self, design: int | None = None, *, after: int = -1
    ) -> Iterator[VerificationRow]:
        """Yield the verifications in order, of one design or all, those behind `after`."""
        known = self._folded
        rows = known.verifications if design is None else known.by_design.get(design, ())
        return (row for row in rows if row.id > after)

    def records(self, kind: type[Record]) -> Iterator[Record]:
        """Yield what the events of one kind hold; the log is not kept."""
        return Store.records(self, kind)

    def taken_over(self, store: Store) -> Moment:
        """Return the same moment, read through another connection."""
        self._db, self.curves = store._db, store.curves
        return self


class Watch:
    """A run that is watched; threads take turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._folded: Folded | None = None
        self._moment: Moment | None = None
        self._identity: tuple[int, int] | None = None
        self._answers: dict[object, tuple[int, object]] = {}

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """Yield the run as it is now.

        Raises:
            GenesysError: there is no run any more, or it cannot be read.
            sqlite3.DatabaseError: it is damaged, or its log is of another version.
        """
        with self._lock, Store.open(self.folder, shared=True) as store:
            yield self._now(store)

    def answer(self, key: object, make: Callable[[Moment], T]) -> T:
        """Return what `make` makes of the run, made once for each state of its log."""
        with self.moment() as moment:
            number, made = self._answers.get(key, (-1, None))
            if number != moment.event:
                made = make(moment)
                if len(self._answers) >= MOST_ANSWERS:
                    self._answers.clear()
                self._answers[key] = moment.event, made
            return made  # type: ignore[return-value]

    def _now(self, store: Store) -> Moment:
        file = store.path.stat()
        if self._identity != (file.st_dev, file.st_ino):
            self._identity = file.st_dev, file.st_ino
            self._folded = self._moment = None
            self._answers.clear()
        if self._folded is None:
            self._folded = Folded(store.meta("name", ""))
        alive = store.being_written()  # before the log is read: a run may end meanwhile
        store._db.execute("BEGIN")  # all that follows is of one moment
        self._folded.follow(store)
        known = self._moment
        if known is not None and (known.event, known._alive) == (self._folded.event, alive):
            return known.taken_over(store)
        self._moment = Moment(store, self._folded, alive=alive)
        return self._moment


MOST_ANSWERS = 64
"""Answers kept for a run; those to what nobody asks again are not worth their room."""


def problem_of(error: BaseException) -> dict[str, str]:
    """Return what is wrong, where and how to fix it, as the page shows it."""
    if isinstance(error, GenesysError):
        return {
            "message": error.message,
            "where": error.where or "",
            "hint": error.hint or "",
        }
    return {"message": f"the run cannot be read: {error}", "where": "", "hint": ""}
