"""What a tracker promises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.plugins.api import TrackedRun
from genesys_engine.plugins.host import freeze
from genesys_engine.plugins.testing.contract import Contract
from genesys_engine.plugins.testing.engine import engine


class TrackerContract(Contract):
    """Takes every event, also twice and also unknown ones, and lets everything go at the end."""

    kind = "tracker"

    def log(self, run_folder: Path) -> list[Mapping[str, Any]]:
        """Return the log of a finished run."""
        return [freeze(event) for event in engine().log(run_folder)]

    def tracker(self, folder: Path, *, resumed: bool = False) -> Any:
        """Return a tracker of a run in `folder`."""
        return self.create(run=TrackedRun("sample", folder, freeze({"run": {}}), resumed))

    def test_it_takes_a_whole_log_and_closes_twice(self, run_folder: Path, tmp_path: Path) -> None:
        """In the order of the log."""
        tracker = self.tracker(tmp_path)
        for event in self.log(run_folder):
            tracker.on_event(event)
        tracker.close()
        tracker.close()

    def test_it_takes_what_comes_again_and_what_it_does_not_know(
        self, run_folder: Path, tmp_path: Path
    ) -> None:
        """After a crash an event may come again; later versions have more kinds."""
        events = self.log(run_folder)
        half = len(events) // 2
        first = self.tracker(tmp_path)
        for event in events[:half]:
            first.on_event(event)
        first.close()
        second = self.tracker(tmp_path, resumed=True)
        for event in events[half - 1 :]:
            second.on_event(event)
        kind = freeze({"id": 10**6, "kind": "never.heard", "payload": {"x": [1]}, "at": 1.0})
        second.on_event(kind)
        second.close()

    def test_closing_lets_its_files_go(self, run_folder: Path, tmp_path: Path) -> None:
        """No descriptor that it opened in the run's folder stays open."""
        tracker = self.tracker(tmp_path)
        for event in self.log(run_folder):
            tracker.on_event(event)
        tracker.close()
        assert [path for path in _open_files() if path.startswith(str(tmp_path))] == []


def _open_files() -> list[str]:
    """Return the files that this process has open (none where /proc cannot say)."""
    found = []
    for entry in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return found
