"""What has moved, for every browser that is there: server-sent events, fed from the event logs.

A run that somebody watches is looked at twice a second, from the last event on.  However many
events have come, a browser gets one message with the newest number, and one that is slow gets the
newest only: nothing piles up.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence

from starlette.concurrency import run_in_threadpool

from genesys_engine.engine.dashboard.catalogue import Entry
from genesys_engine.engine.dashboard.watch import problem_of
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import GenesysError

EVERY_S = 0.5
IDLE = 6
BEAT_S = 5.0


class Feed:
    """Looks at the runs that are listened to, each once however many listen."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._listeners: dict[str, set[asyncio.Queue[dict[str, object]]]] = {}
        self._lookers: dict[str, asyncio.Task[None]] = {}
        self._last: dict[str, dict[str, object]] = {}

    async def listen(self, entries: Sequence[Entry]) -> AsyncIterator[dict[str, str]]:
        """Yield a message whenever one of the runs has moved, until the browser goes away."""
        queue: asyncio.Queue[dict[str, object]] = asyncio.Queue(maxsize=1)
        for entry in entries:
            self._listeners.setdefault(entry.key, set()).add(queue)
            if (last := self._last.get(entry.key)) is not None:
                _replace(queue, last)
            if entry.key not in self._lookers:
                self._lookers[entry.key] = asyncio.create_task(self._look(entry))
        try:
            while True:
                yield {"event": "moved", "data": json.dumps(await queue.get())}
        finally:
            for entry in entries:
                self._leave(entry, queue)

    def _leave(self, entry: Entry, queue: asyncio.Queue[dict[str, object]]) -> None:
        """Forget a browser, and stop looking at a run that nobody listens to any more."""
        listeners = self._listeners[entry.key]
        listeners.discard(queue)
        if not listeners and (looker := self._lookers.pop(entry.key, None)) is not None:
            looker.cancel()
            self._last.pop(entry.key, None)

    async def _look(self, entry: Entry) -> None:
        """Look at a run as long as somebody listens; one that nobody works on, less often."""
        while True:
            found = await run_in_threadpool(_state, entry)
            if found != self._last.get(entry.key):
                self._last[entry.key] = found
                for queue in self._listeners.get(entry.key, ()):
                    _replace(queue, found)
            await asyncio.sleep(self._every_s * (1 if found.get("alive") else IDLE))


def _replace(queue: asyncio.Queue[dict[str, object]], found: dict[str, object]) -> None:
    """Put the newest message in place of one that was not fetched yet."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(found)


def _state(entry: Entry) -> dict[str, object]:
    """Return how far a run is: its last event, and whether a process works on it."""
    try:
        last, alive = last_event(entry)
    except (GenesysError, sqlite3.DatabaseError, OSError) as error:
        return {"run": entry.key, "problem": problem_of(error)}
    beat = int(time.time() / BEAT_S) if alive else 0  # its curves grow without an event
    return {"run": entry.key, "event": last, "alive": alive, "beat": beat}


def last_event(entry: Entry) -> tuple[int, bool]:
    """Return the number of a run's last event, and whether a process works on it."""
    with Store.open(entry.folder) as store:
        return store.last_event(), store.being_written()
