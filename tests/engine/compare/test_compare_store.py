import sqlite3

import pytest

from genesys_engine.engine.compare.results import Implemented, Result
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.api import LLMUsage

USAGE = {"coder": LLMUsage(2, 300, 40, None), "planner": LLMUsage(1, 20, 3, 0.5)}
TRACE = ({"role": "coder", "outcome": "load.error", "codes": ["load.error"]},)
MADE = Implemented(False, "load.error", 2, USAGE, None, {"import added": 1}, TRACE, None)
RESULT = Result("01", "gp", MADE, 2.5)


@pytest.fixture
def begun(tmp_path):
    given = tmp_path / "given.toml"
    given.write_text("[run]\n")
    folder = tmp_path / "study"
    with StudyStore.create(folder, {"name": "x"}, given.read_bytes()) as store:
        store.add_result(RESULT)
    return folder


def test_what_is_written_is_read_back(begun):
    with StudyStore.open(begun) as store:
        assert store.results(Implemented) == [RESULT]
        assert store.meta("name") == "x"
        assert store.meta("nothing", 3) == 3
    assert (begun / "experiment.toml").read_text() == "[run]\n"


def test_a_result_is_paid_for_once(begun):
    with StudyStore.open(begun, write=True) as store, pytest.raises(sqlite3.IntegrityError):
        store.add_result(RESULT)


def test_a_closed_study_is_one_file(begun):
    names = {entry.name for entry in begun.iterdir()}
    assert names == {"experiment.toml", "lock", "study.sqlite"}


def test_two_writers_are_one_too_many(begun):
    with (
        StudyStore.open(begun, write=True),
        pytest.raises(EnvironmentProblem, match="another process"),
    ):
        StudyStore.open(begun, write=True)


def test_a_beginning_that_was_killed_is_restarted(tmp_path):
    given = tmp_path / "given.toml"
    given.write_text("[run]\n")
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("lock", "study.sqlite.partial", "experiment.toml"):
        (folder / name).write_text("")
    StudyStore.create(folder, {}, given.read_bytes()).close()
    assert StudyStore.exists(folder)


def test_no_study_and_another_format_are_reported(tmp_path, begun):
    with pytest.raises(InputError, match="no study here"):
        StudyStore.open(tmp_path)
    with StudyStore.open(begun, write=True) as store:
        store.keep("format", 99)
    with pytest.raises(InputError, match="in format 99, this version reads 2"):
        StudyStore.open(begun)


def test_the_experiment_of_somebody_else_is_not_overwritten(tmp_path):
    """Only next to a database that was being made can it be what a killed start has left."""
    given = tmp_path / "given.toml"
    given.write_text("[run]\n")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "experiment.toml").write_text("all of my work")
    for store in (StudyStore, Store):
        with pytest.raises(InputError, match="not empty"):
            store.create(mine, {}, given)
    assert [(entry.name, entry.read_text()) for entry in mine.iterdir()] == [
        ("experiment.toml", "all of my work")
    ]


def test_a_damaged_study_is_an_error_with_its_place(begun):
    with sqlite3.connect(begun / "study.sqlite") as db:
        db.execute("UPDATE results SET payload = 'no JSON'")
    with pytest.raises(InputError, match="damaged") as caught, StudyStore.open(begun) as store:
        store.results(Implemented)
    assert caught.value.where == str(begun / "study.sqlite")
