"""The records of events: one for each kind, the same JSON before and after, old logs read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sample_run import make_run

from genesys_engine.engine.store.event_types import (
    BudgetWarning,
    FinalsOpened,
    FinalsPlan,
    RunFinished,
    record_of,
)
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins import event_kinds as kinds

NAMES = [value for name, value in vars(kinds).items() if name.isupper()]


@pytest.mark.parametrize("kind", sorted({*NAMES} - {kinds.RUN_RESUMED}))
def test_each_kind_of_event_has_a_record_that_demands_its_fields(kind: str) -> None:
    with pytest.raises(ValueError, match=r"Field required|missing"):
        record_of(kind, {})


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    with Store.open(make_run(tmp_path / "run")) as store:
        log = list(store.events())
    assert len({event.kind for event in log}) > 10
    for event in log:
        assert event.record is not None
        assert event.record.to_json() == event.payload


def test_the_records_of_one_kind_are_those_of_the_log(tmp_path: Path) -> None:
    with Store.open(make_run(tmp_path / "run")) as store:
        wanted = [e.record for e in store.events() if e.kind == kinds.BUDGET_WARNING]
        assert wanted
        assert list(store.records(BudgetWarning)) == wanted


def test_an_unknown_kind_is_kept_as_it_is() -> None:
    event = Event(1, "plugin.something", {"a": 1}, True, 0.0)
    assert event.record is None
    assert event.payload == {"a": 1}


def test_what_is_unknown_is_left_out() -> None:
    warning = BudgetWarning(budget="designs", used=8, cap=16)
    assert warning.to_json() == {"budget": "designs", "used": 8, "cap": 16}


def test_the_log_of_an_earlier_version_is_read() -> None:
    """Finals without rivals and trainings, a verdict without comparisons and sentences."""
    assert FinalsPlan(designs=2, seeds=3).most_trainings == 9
    opened = record_of(kinds.FINALS_OPENED, {"reference": 0, "finalists": [4, 7], "seeds": 3})
    assert isinstance(opened, FinalsOpened)
    assert (opened.seeds_of_population, opened.most_trainings) == ((0,), 9)
    keys = ("best", "best_child", "rung", "fitness", "reference", "sigma")
    finished = record_of(kinds.RUN_FINISHED, {**dict.fromkeys(keys), "verdict": "None."})
    assert isinstance(finished, RunFinished)
    assert finished.comparisons == finished.sentences == ()


def test_a_payload_that_does_not_fit_its_kind_is_damage(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    with Store.open(folder, write=True) as store, store.transaction():
        sql = "UPDATE events SET payload = '{\"rung\": \"x\"}' WHERE kind = 'rung.opened'"
        store._db.execute(sql)
    with Store.open(folder) as store, pytest.raises(sqlite3.DatabaseError, match=r"rung\.opened"):
        [event.record for event in store.events()]
    with pytest.raises(InputError, match="damaged"), Store.open(folder) as store:
        [event.record for event in store.events()]
