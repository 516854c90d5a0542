"""Trackers: copies of the event log in other systems, fed while the run goes.

A tracker that raises is reported once and switched off: it must never cost a run.  How far each one
came is kept in the store, so that a resumed run continues where the tracker stopped: after a crash
an event may come twice, but none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.config import Component
from genesys_engine.engine.run.context import Setup
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import GenesysError, PluginError
from genesys_engine.plugins.api import TrackedRun, Tracker
from genesys_engine.plugins.host import freeze

TRACKED = "tracked"
"""Fact of the run: the id of the last event that each tracker has taken."""


@dataclass
class Tracked:
    """One tracker of the experiment; `key` tells it from others over interruptions."""

    name: str
    key: str
    tracker: Tracker
    works: bool = True


class Trackers:
    """The trackers of a run."""

    def __init__(self, store: Store, tracked: Sequence[Tracked], say: Callable[[str], None]):
        self._store = store
        self._tracked = tracked
        self._say = say
        self._done: dict[str, int] = dict(store.meta(TRACKED, {}))

    def catch_up(self) -> None:
        """Show each tracker what it has missed of the log."""
        for event in self._store.events() if self._tracked else ():
            self.on_event(event)

    def on_event(self, event: Event) -> None:
        """Show an event to every tracker that works and does not have it yet."""
        shown = freeze(
            {"id": event.id, "kind": event.kind, "payload": event.payload, "at": event.at}
        )
        before = dict(self._done)
        for entry in self._tracked:
            if entry.works and event.id > self._done.get(entry.key, 0):
                self._attempt(entry, partial(entry.tracker.on_event, shown))
                if entry.works:
                    self._done[entry.key] = event.id
        if self._done != before:
            with self._store.transaction():
                self._store.set_meta(TRACKED, self._done)

    def close(self) -> None:
        """Close every tracker, those that were switched off too."""
        for entry in self._tracked:
            self._attempt(entry, entry.tracker.close)

    def _attempt(self, entry: Tracked, call: Callable[[], None]) -> None:
        try:
            call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit in a tracker must not end the run
            if entry.works:
                self._say(
                    f"tracker {entry.name} raised {type(error).__name__}: {error}; it is switched"
                    " off, the run continues"
                )
            entry.works = False


@contextmanager
def open_trackers(setup: Setup, store: Store, say: Callable[[str], None]) -> Iterator[Trackers]:
    """Make the trackers of an experiment, and close them at the end.

    Raises:
        PluginError: one cannot be made; reported before anything is spent.
    """
    made: list[Tracked] = []
    trackers = Trackers(store, made, say)
    try:
        for entry in setup.experiment.trackers:
            made.append(_open(setup, store, entry))
        trackers.catch_up()
        yield trackers
    finally:
        trackers.close()


def _open(setup: Setup, store: Store, entry: Component) -> Tracked:
    experiment, description = setup.experiment, setup.host.registry.get("tracker", entry.use)
    key = canonical_json(entry.to_json())
    facts: Mapping[str, int] = store.meta(TRACKED, {})
    about = TrackedRun(
        experiment.run.name, store.folder, freeze(experiment.to_json()), resumed=key in facts
    )
    try:
        tracker: Tracker = description.create(entry.options, run=about)
    except (GenesysError, KeyboardInterrupt):
        raise
    except BaseException as error:  # even sys.exit() is an error that names the tracker
        raise PluginError(
            f"cannot be started: {type(error).__name__}: {error}",
            where=f"tracker {entry.use} of {description.distribution}",
            hint="fix the cause, or remove it from [[trackers]]",
        ) from error
    return Tracked(entry.use, key, tracker)
