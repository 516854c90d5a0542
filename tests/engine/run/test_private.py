"""What a run holds is for its owner alone, whatever the umask and whoever made the folder."""

import os
import stat

import pytest
from engine_process import engine, write_experiment

from genesys_engine.engine.compare.check_reports import CheckReports
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.llm.ledger import Call, Ledger
from genesys_engine.engine.llm.recording import lines_of, record
from genesys_engine.engine.store.recovery import recover
from genesys_engine.engine.store.run_store import DATABASE, Store
from genesys_engine.gab.private import close_to_others, private_file, private_folder

UMASKS = (0, 0o022, 0o077)


@pytest.fixture(params=UMASKS, ids=oct, autouse=True)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(folder):
    return [
        str(path)
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and mode(path) & 0o077
    ]


@pytest.fixture
def experiment(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text("[run]\n")
    file.chmod(0o644)
    return file


def test_a_run_is_for_its_owner_alone(tmp_path, experiment):
    folder = tmp_path / "runs" / "first"
    with Store.create(folder, {"name": "first"}, experiment.read_bytes()) as store:
        Ledger(folder / DATABASE).add(Call("coder", "1", "a/b", {"ask": "me"}, "d", "a reply"))
        with store.transaction():
            store.set_meta("key", "value")
        assert (folder / f"{DATABASE}-wal").exists()  # SQLite's own files too
        assert open_to_others(folder) == []
        store.backup.make()
    assert open_to_others(folder) == []
    assert mode(folder) == 0o700
    assert mode(folder / DATABASE) == mode(folder / "experiment.toml") == 0o600


@pytest.mark.parametrize("umask", UMASKS[:1], indirect=True, ids=oct)
def test_all_that_a_run_leaves_is_for_its_owner_alone(tmp_path):
    """Checkpoints, curves and the report too: of a real run under the umask that closes least."""
    run = tmp_path / "run"
    file = write_experiment(tmp_path, verifications=2, designs=1)
    answer = engine("run", file, "--out", run)
    assert answer.code in (0, 1), answer.err
    assert (run / "report.html").exists()
    assert open_to_others(run) == []


def test_the_folder_of_an_earlier_version_is_closed_when_it_is_taken_up(tmp_path, experiment):
    folder = tmp_path / "run"
    Store.create(folder, {"name": "first"}, experiment.read_bytes()).close()
    (folder / "checkpoints").mkdir()
    (folder / "report.html").write_text("page")
    (folder / "elsewhere").symlink_to(experiment)
    for path in (folder, *folder.iterdir()):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    Store.open(folder).close()  # whoever reads changes nothing
    assert mode(folder) == 0o755
    Store.open(folder, write=True).close()
    assert open_to_others(folder) == []
    assert mode(experiment) == 0o644


def test_a_run_that_was_recovered_is_for_its_owner_alone(tmp_path, experiment):
    folder = tmp_path / "run"
    with Store.create(folder, {"name": "first"}, experiment.read_bytes()) as store:
        store.backup.make()
    (folder / DATABASE).write_bytes(b"damaged" * 1000)
    assert recover(folder).backup is not None
    assert open_to_others(folder) == []


def test_a_study_and_its_recordings_are_for_their_owner_alone(tmp_path, experiment):
    folder = tmp_path / "study"
    with StudyStore.create(folder, {"name": "first"}, experiment.read_bytes()):
        report = {"passed": True, "findings": [], "measurements": {}}
        CheckReports(folder).add("source", DesignReport.from_json(report))
        assert open_to_others(folder) == []
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    StudyStore.open(folder, write=True).close()
    assert open_to_others(folder) == []


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.xz"])
def test_a_recording_is_for_its_owner_alone(tmp_path, ending):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.add(Call("coder", "1", "a/b", {"ask": "me"}, "d", "a reply"))
    assert record(tmp_path / f"calls.{ending}", lines_of(ledger)) == 1
    assert open_to_others(tmp_path / ".")[1:] == []


def test_what_others_own_and_links_stay_as_they_are(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_text("text")
    target.chmod(0o644)
    folder = tmp_path / "folder"
    private_folder(folder)
    (folder / "link").symlink_to(target)
    close_to_others(folder)
    assert mode(target) == 0o644
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    private_file(target)
    assert mode(target) == 0o644
