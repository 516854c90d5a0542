"""Paths relative to the experiment's file still hold where a run or a study reads its own copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genesys_engine.engine import run
from genesys_engine.engine.assembly import load
from genesys_engine.engine.compare import evolution, session
from genesys_engine.engine.evolution import Stopped
from genesys_engine.engine.store import Store
from genesys_engine.gab.errors import InputError

EXPERIMENT = """
[knowledge]
base = "mine"
[plugins]
local = ["beside.py"]
[compare]
study = "evolution"
proposals = "ideas"
seeds = [1]
arms = [{ name = "a" }, { name = "b", sets = ["selection.use=random"] }]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("mine", "ideas"):
        (tmp_path / name).mkdir()
    (tmp_path / "beside.py").write_text("from genesys_engine.plugins import api\n")
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT)
    return path


def said(calls: Callable[..., Any]) -> Any:
    """Return callbacks of which none does anything."""
    return calls(*(lambda *about: None for _ in range(4)))


def test_a_run_is_taken_up_with_its_paths(file: Path) -> None:
    _, experiment = load(file, ())
    meta = {
        "experiment": experiment.to_json(),
        "experiment_digest": experiment.digest,
        "finished": True,
    }
    folder = file.parent / "runs" / "one"
    Store.create(folder, meta, file).close()
    with pytest.raises(InputError, match="this run is finished"):  # so it is the same experiment
        run.resume(folder, (), said(run.Callbacks))


def test_the_runs_of_a_study_get_its_paths_and_it_is_gone_on_with(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []

    def start(path: Path, sets: list[str], folder: Path, callbacks: Any) -> None:
        begun.append(load(path, sets)[1])
        raise Stopped("enough")

    monkeypatch.setattr(evolution.run, "start", start)
    folder = file.parent / "studies" / "one"
    with pytest.raises(Stopped, match="enough"):
        session.begin(file, (), folder, said(session.Callbacks))
    with pytest.raises(Stopped, match="enough"):
        session.resume(folder, (), said(session.Callbacks))
    assert len(begun) == 2
    for experiment in begun:
        assert experiment.knowledge.base == str(file.parent / "mine")
        assert experiment.plugins.local == (str(file.parent / "beside.py"),)
        assert experiment.compare.proposals == str(file.parent / "ideas")
