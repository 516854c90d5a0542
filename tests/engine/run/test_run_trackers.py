"""Trackers follow the log of a run: each event once, nothing lost, no harm to the run."""

import sys
from pathlib import Path
from typing import Any

import pytest

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.run.context import Setup
from genesys_engine.engine.run.trackers import Tracked, Trackers, open_trackers
from genesys_engine.engine.store.event_types import RungOpened
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.host import PluginHost

MODULE = """
from genesys_engine.plugins import api

class Options(api.Options):
    fail_at: int = 0

class Recorder:
    Options = Options
    def __init__(self, options, *, run):
        if options.fail_at == -2:
            raise SystemExit("gone")
        if options.fail_at < 0:
            raise OSError("no such server")
        self.path = run.folder / f"seen-{options.fail_at}.txt"
        self.fail_at, self.resumed = options.fail_at, run.resumed
    def on_event(self, event):
        if event["id"] == self.fail_at:
            raise ValueError("cannot bear it")
        with self.path.open("a") as file:
            file.write(f"{event['id']} ")
    def close(self):
        with self.path.open("a") as file:
            file.write("resumed. " if self.resumed else "closed. ")

@api.hookimpl
def genesys_register_trackers(register):
    register("recorder", "recorder_plugin:Recorder", summary="writes down what it sees")
"""

EXPERIMENT = """
[plugins]
local = ["recorder_plugin.py"]
[[trackers]]
use = "recorder"
fail_at = {}
[[trackers]]
use = "recorder"
"""


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a plugin file of its own under the same name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "recorder_plugin", raising=False)


class Run:
    """A store whose log grows, and what was said meanwhile."""

    def __init__(self, folder: Path, fail_at: int) -> None:
        (folder / "recorder_plugin.py").write_text(MODULE)
        file = folder / "experiment.toml"
        file.write_text(EXPERIMENT.format(fail_at))
        self.experiment = load_experiment(file)
        self.host = PluginHost(local=self.experiment.plugins.local)
        self.folder = folder / "run"
        self.said: list[str] = []
        Store.create(self.folder, {}).close()

    def session(self, events: int, *, tell: int | None = None) -> None:
        """Add events; show the first `tell` of them, as if the process was killed after that."""
        with (
            Store.open(self.folder, write=True) as store,
            open_trackers(Setup(self.host, self.experiment), store, self.said.append) as trackers,
        ):
            for number in range(events):
                with store.transaction():
                    event = store.add_event(RungOpened(rung=number, scale="0.2M"))
                if tell is None or number < tell:
                    trackers.on_event(event)

    def seen(self, fail_at: int = 0) -> str:
        return (self.folder / f"seen-{fail_at}.txt").read_text().strip()


def test_a_resumed_run_goes_on_where_the_tracker_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path, 99)
    run.session(4, tell=2)
    run.session(2)
    assert run.seen() == "1 2 closed. 3 4 5 6 resumed."
    assert run.seen(99) == run.seen()
    assert run.said == []


def test_one_that_raises_is_told_once_and_switched_off(tmp_path: Path) -> None:
    run = Run(tmp_path, 2)
    run.session(4)
    assert run.seen() == "1 2 3 4 closed."
    assert run.seen(2) == "1 closed."
    assert len(run.said) == 1
    assert "tracker recorder raised ValueError: cannot bear it" in run.said[0]
    assert "switched off" in run.said[0]


def test_one_that_cannot_be_made_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    run = Run(tmp_path, -1)
    with pytest.raises(PluginError, match="cannot be started: OSError: no such server") as caught:
        run.session(1)
    assert caught.value.where == "tracker recorder of local"


def test_one_that_cannot_be_closed_costs_nothing(tmp_path: Path) -> None:
    class Stubborn:
        def on_event(self, event: Any) -> None:
            pass

        def close(self) -> None:
            raise RuntimeError("stuck")

    said: list[str] = []
    with Store.create(tmp_path / "run", {}) as store:
        Trackers(store, [Tracked("stubborn", "s", Stubborn())], said.append).close()
    assert len(said) == 1
    assert "stuck" in said[0]


class Leaving:
    """Wants to end the process, as the client of a server that is gone may."""

    def on_event(self, event: Any) -> None:
        sys.exit("the server is gone")

    def close(self) -> None:
        raise SystemExit(3)


def test_one_that_wants_to_end_the_process_is_switched_off(tmp_path: Path) -> None:
    said: list[str] = []
    with Store.create(tmp_path / "run", {}) as store:
        tracked = Tracked("leaving", "l", Leaving())
        trackers = Trackers(store, [tracked], said.append)
        with store.transaction():
            event = store.add_event(RungOpened(rung=0, scale="0.2M"))
        trackers.on_event(event)
        trackers.close()
    assert not tracked.works
    (told,) = said
    assert "tracker leaving raised SystemExit: the server is gone" in told


def test_one_that_wants_to_end_the_process_when_made_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path, -2)
    with pytest.raises(PluginError, match="cannot be started: SystemExit: gone") as caught:
        run.session(1)
    assert caught.value.where == "tracker recorder of local"


def test_trackers_decide_nothing(tmp_path: Path) -> None:
    with_trackers = Run(tmp_path, 1).experiment
    (tmp_path / "plain.toml").write_text("")
    plain = load_experiment(tmp_path / "plain.toml", ("run.name=experiment",))
    assert with_trackers.digest == plain.digest
