"""A store that is read once: the sections of a report ask for the same rows again and again.

It also shows every section the same moment of a run that continues meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import DesignRow, Record, Store, VerificationRow

T = TypeVar("T")


class ReadOnce(Store):
    """`store` with its designs, verifications and events kept; the original stays open."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.folder, store._db)
        self._made: dict[Callable[[Store], Any], Any] = {}

    def once(self, read: Callable[[Store], T]) -> T:
        """Return what `read` makes of the store, made once."""
        if read not in self._made:
            self._made[read] = read(self)
        made: T = self._made[read]
        return made

    def designs(self, *, after: int = -1) -> Iterator[DesignRow]:
        """Yield the designs in order of their numbers, from the one behind `after`."""
        return (row for row in self._designs if row.id > after)

    def verifications(
        self, design: int | None = None, *, after: int = -1
    ) -> Iterator[VerificationRow]:
        """Yield the verifications in order, of one design or all, those behind `after`."""
        rows = self._verifications if design is None else self._by_design.get(design, ())
        return (row for row in rows if row.id > after)

    def events(self, *, after: int = 0) -> Iterator[Event]:
        """Yield the log in order, from the entry behind `after`."""
        return (event for event in self._events if event.id > after)

    def records(self, kind: type[Record]) -> Iterator[Record]:
        """Yield what the events of one kind hold, in order."""
        for event in self._events:
            if event.kind == kind.KIND and isinstance(found := event.record, kind):
                yield found

    def leaderboard(self, limit: int | None = None) -> list[DesignRow]:
        """Return the verified designs: highest rung first, then best fitness."""
        return self._leaders[:limit]

    @cached_property
    def _leaders(self) -> list[DesignRow]:
        return super().leaderboard()

    @cached_property
    def _designs(self) -> list[DesignRow]:
        return list(super().designs())

    @cached_property
    def _verifications(self) -> list[VerificationRow]:
        return list(super().verifications())

    @cached_property
    def _events(self) -> list[Event]:
        return list(super().events())

    @cached_property
    def _by_design(self) -> dict[int, list[VerificationRow]]:
        found: dict[int, list[VerificationRow]] = {}
        for row in self._verifications:
            found.setdefault(row.design, []).append(row)
        return found


def once(store: Store, read: Callable[[Store], T]) -> T:
    """Return what `read` makes of a store, made once for one that is read once."""
    return store.once(read) if isinstance(store, ReadOnce) else read(store)
