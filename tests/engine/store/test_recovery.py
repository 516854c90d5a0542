"""A damaged database: what is said, what comes back, and that a run goes on from it as decided."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from recorded_run import Trial

from genesys_engine.engine.cli import main
from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.store import backup
from genesys_engine.engine.store.backup import BACKUP, Backup, copy_database
from genesys_engine.engine.store.recovery import RECOVERED, recover
from genesys_engine.engine.store.run_store import DATABASE, Store
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.gab.tree import GABTree


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = Trial(tmp_path_factory.mktemp("recovery") / "run")
    trial.go()
    return trial


@pytest.fixture
def folder(finished: Trial, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.folder, tmp_path / "run"))


def overwrite(file: Path, start: int, size: int) -> None:
    with file.open("r+b") as handle:
        handle.seek(start)
        handle.write(b"\xa5" * size)


def cut(file: Path, size: int) -> None:
    with file.open("r+b") as handle:
        handle.truncate(size)


DAMAGE = {
    "overwritten": lambda file: overwrite(file, 20_000, 36_000),
    "the header": lambda file: overwrite(file, 0, 100),
    "cut": lambda file: cut(file, 50_000),
    "emptied": lambda file: cut(file, 0),
    "gone": lambda file: file.unlink(),
    "text": lambda file: file.write_text("no database at all\n" * 1000),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_said_with_what_can_be_saved_and_recover_brings_it_back(
    finished: Trial, folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGE[kind](folder / DATABASE)
    with Store.open(finished.folder) as store:
        held = store.count("designs"), store.count("verifications")
    for command in ("status", "leaderboard"):
        assert main([command, str(folder)]) == 2
        said = capsys.readouterr().err
        assert "the store is damaged" in said
        assert f"genesys-engine recover {folder}" in said
        assert f"{held[0]} designs and {held[1]} verifications" in said
    assert main(["recover", str(folder)]) == 0
    capsys.readouterr()
    assert main(["events", str(folder), "--digest"]) == 0
    assert capsys.readouterr().out.strip() == finished.digest()
    assert kind == "gone" or (folder / f"{DATABASE}.damaged-1").exists()
    assert recover(folder).whole


def test_a_value_that_is_no_json_any_more_is_damage_and_no_bug(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(folder / DATABASE) as db:
        db.execute("UPDATE events SET payload = '{\"seq\": ' WHERE id = 5")
    assert main(["status", str(folder)]) == 2
    assert "the store is damaged" in capsys.readouterr().err
    assert recover(folder).backup is not None


def test_without_a_backup_the_designs_that_can_be_read_become_seeds(
    finished: Trial, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / BACKUP).unlink()
    size = (folder / DATABASE).stat().st_size
    overwrite(folder / DATABASE, size - 30_000, 16_000)
    try:
        found = recover(folder)
    except InputError:
        pytest.fail("what can be read is saved")
    if found.whole:
        pytest.skip("these pages hold nothing here")
    assert found.saved
    with Store.open(finished.folder) as store:
        for file in found.saved:
            number = int(file.stem.removeprefix("design-"))
            tree = GABTree.from_json(json.loads(file.read_text()))
            assert tree.digest == store.design(number).digest
    path = folder.parent / "again.toml"
    path.write_text(f'[population]\nseeds = ["gpt", "run/{RECOVERED}/{found.saved[0].name}"]\n')
    assert len(load_experiment(path).population.seeds) == 2


def test_a_run_goes_on_from_its_backup_as_if_nothing_had_happened(
    finished: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "EVERY_S", 0.0)
    monkeypatch.setattr(backup, "SHARE", 0)
    trial = Trial(tmp_path / "run")
    with pytest.raises(Stopped):
        trial.go(lambda: "stop" if len(trial.events("verification.finished")) > 9 else None)
    kept = (trial.folder / BACKUP).read_bytes()
    with pytest.raises(Stopped):
        trial.go(lambda: "stop" if len(trial.events("verification.finished")) > 19 else None)
    (trial.folder / BACKUP).write_bytes(kept)  # so old was it when the disk failed
    overwrite(trial.folder / DATABASE, 8192, 40_000)
    with pytest.raises(InputError, match="the store is damaged"):
        trial.go()
    assert recover(trial.folder).backup is not None
    trial.go()
    assert trial.digest() == finished.digest()


def test_damage_is_never_copied_over_a_sound_backup(folder: Path) -> None:
    before = (folder / BACKUP).read_bytes()
    overwrite(folder / DATABASE, 20_000, 36_000)
    db = sqlite3.connect(folder / DATABASE)
    with pytest.raises(sqlite3.DatabaseError):
        copy_database(db, folder / BACKUP)
    Backup(db, folder).make()
    db.close()
    assert (folder / BACKUP).read_bytes() == before
    assert not list(folder.glob("*.partial"))


def test_a_backup_waits_until_it_is_due_and_until_something_was_written(folder: Path) -> None:
    with Store.open(folder, write=True) as store:
        (folder / BACKUP).unlink()
        store.backup.make_if_due()
        assert not (folder / BACKUP).exists()
        store.backup.make()
        first = (folder / BACKUP).stat().st_ino
        store.backup.make()
        assert (folder / BACKUP).stat().st_ino == first
        with store.transaction():
            store.set_meta("note", 1)
        store.backup.make()
        assert (folder / BACKUP).stat().st_ino != first


def test_a_run_under_way_is_not_recovered(folder: Path) -> None:
    with Store.open(folder, write=True), pytest.raises(EnvironmentProblem):
        recover(folder)


def test_there_is_nothing_to_recover_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        recover(tmp_path)
