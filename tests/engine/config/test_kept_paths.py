"""Paths relative to the experiment's file still hold where a run or a study reads its own copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genesys_engine.engine.compare import evolution, session
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.config import ConfigError
from genesys_engine.engine.config.kept import PATHS, kept_paths, kept_sets
from genesys_engine.engine.config.load import read_kept, read_source
from genesys_engine.engine.config.schema.compare import CompareSection
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.run import lifecycle
from genesys_engine.engine.run.assembly import load, load_setup
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.host import PluginHost

EXPERIMENT = """
[corpus]
use = "text"
paths = ["texts"]
[knowledge]
base = "mine"
[plugins]
local = ["beside.py"]
[compare]
study = "evolution"
proposals = "ideas"
seeds = [1]
[[compare.arms]]
name = "a"
[[compare.arms]]
name = "b"
sets = ["selection.use=random", 'sandbox.readable=["mine"]']
"""


def given(file: Path) -> tuple[Any, Any]:
    source = read_source(file)
    return load_setup(source), source


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("mine", "ideas", "texts"):
        (tmp_path / name).mkdir()
    (tmp_path / "beside.py").write_text("from genesys_engine.plugins import api\n")
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT)
    return path


def said(calls: Callable[..., Any]) -> Any:
    """Return callbacks of which none does anything."""
    return calls(*(lambda *about: None for _ in range(4)))


@pytest.mark.parametrize("older", [False, True])
def test_a_run_is_taken_up_with_its_paths(file: Path, *, older: bool) -> None:
    """An older version kept the whole paths of some options alone."""
    experiment = load(file, ()).experiment
    meta = {
        "experiment": experiment.to_json(),
        "experiment_digest": experiment.digest,
        "finished": True,
        **({} if older else {PATHS: kept_paths(experiment)}),
    }
    folder = file.parent / "runs" / "one"
    Store.create(folder, meta, file.read_bytes()).close()
    with pytest.raises(InputError, match="is finished"):  # so it is the same experiment
        lifecycle.resume(folder, (), said(lifecycle.Callbacks))


def test_the_runs_of_a_study_get_its_paths_and_it_is_gone_on_with(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []

    def start(setup: Any, source: Any, folder: Path, callbacks: Any) -> None:
        begun.append(setup.experiment)
        raise Stopped("enough")

    monkeypatch.setattr(evolution.lifecycle, "start", start)
    folder = file.parent / "studies" / "one"
    with pytest.raises(Stopped, match="enough"):
        session.begin(*given(file), folder, said(session.StudyObserver))
    with pytest.raises(Stopped, match="enough"):
        session.resume(folder, (), said(session.StudyObserver))
    assert len(begun) == 2
    for experiment in begun:
        assert experiment.corpus.paths == (str(file.parent / "texts"),)
        assert experiment.knowledge.base == str(file.parent / "mine")
        assert experiment.plugins.local == (str(file.parent / "beside.py"),)
        assert experiment.compare.proposals == str(file.parent / "ideas")


def test_a_set_of_the_command_line_is_meant_wherever_it_is_resumed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "mine").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    sets = ["knowledge.base=mine"]
    experiment = load(file, sets).experiment
    meta = {"sets": sets, PATHS: kept_paths(experiment)}
    monkeypatch.chdir(tmp_path)
    again = load(file, kept_sets(lambda key, default=None: meta.get(key, default))).experiment
    assert again.knowledge.base == str(elsewhere / "mine")
    assert again.digest == experiment.digest


def test_what_an_arm_sets_is_relative_to_the_file_of_the_study(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*given: Any) -> None:
        raise Stopped("enough")

    monkeypatch.setattr(evolution.lifecycle, "start", start)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(Stopped):
        session.begin(*given(file), tmp_path / "study", said(session.StudyObserver))
    with StudyStore.open(tmp_path / "study") as store:
        (_, arm) = load(file, ()).experiment.compare.arms
        experiment = evolution._arm_experiment(store, arm.sets)
    assert experiment.sandbox.readable == (str(file.parent / "mine"),)


def test_a_run_needs_nothing_of_what_earlier_versions_compared(tmp_path: Path) -> None:
    """Its own version of [compare] is kept with a run; keys that are gone do not refuse it."""
    tables = {"run": {"name": "old"}, "compare": {"strata": ["gone"]}}
    read = read_kept(tables, tmp_path / "experiment.toml", (), PluginHost().registry)
    assert read.run.name == "old"
    assert read.compare == CompareSection()
    with pytest.raises(ConfigError):
        read_kept({"gone": {}}, tmp_path / "experiment.toml", (), PluginHost().registry)
