"""Adaptive operator selection in the loop: the same for any number of workers and after kills."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import recorded_run
from recorded_run import Trial, go_in_parts

from genesys_engine.engine.jobs.tasks import DesignTask, OperatorWeights
from genesys_engine.engine.select.credit import Credit
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab import library
from genesys_engine.plugins.testing.recorded import RecordedExecutor

SETS = ("variation.operator_selection=adaptive", "budget.designs=18")
KNOWN = {unit.name for unit in library.units()} | {"Block"}


def adaptive(folder: Path, **values: Any) -> Trial:
    return Trial(folder, sets=SETS, reject=0.2, fail=0.1, leaks=0.5, **values)


def learned(trial: Trial) -> list[OperatorWeights | None]:
    with Store.open(trial.folder) as store:
        return [row.task.weights for row in store.tasks() if isinstance(row.task, DesignTask)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = adaptive(tmp_path_factory.mktemp("adaptive") / "whole", workers=0)
    trial.go()
    return trial


def test_what_was_learned_is_in_the_tasks(whole: Trial) -> None:
    *seeds, first = learned(whole)[:4]
    assert seeds == [None] * 3
    assert first == OperatorWeights({}, {})
    last = learned(whole)[-1]
    assert last is not None
    assert len(last.operators) >= 4
    assert len(set(last.operators.values())) > 2
    assert {"sequence_mixer", "channel_mixer", "block"} & set(last.places)
    assert whole.events("design.disqualified"), "a leak takes part in what is learned"


def test_the_log_is_the_same_for_any_number_of_workers(whole: Trial, tmp_path: Path) -> None:
    fast = adaptive(tmp_path / "fast", workers=5, delay_s=0.02)
    fast.go()
    assert fast.digest() == whole.digest()
    assert learned(fast) == learned(whole)


def test_the_log_is_the_same_after_interruptions(whole: Trial, tmp_path: Path) -> None:
    cut = adaptive(tmp_path / "cut", workers=0)
    go_in_parts(cut, range(2, 60, 3))
    assert cut.digest() == whole.digest()
    assert learned(cut) == learned(whole)


def test_a_fixed_selection_keeps_its_log_and_learns_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "fixed", sets=("budget.designs=4",))
    trial.go()
    assert set(learned(trial)) == {None}


class NoNewUnits(RecordedExecutor):
    """Rejects whatever has a unit that is not in the library."""

    def _check(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        names = set(re.findall(r"^class (\w+)\(", payload["source"], re.MULTILINE))
        self._reject = 1.0 if names - KNOWN else 0.0
        return super()._check(payload)


def test_an_operator_whose_children_fail_gets_less_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_run, "RecordedExecutor", NoNewUnits)
    trial = Trial(tmp_path / "run", workers=0, sets=SETS, fail=0.0)
    trial.go()
    weights = learned(trial)[-1]
    assert trial.events("design.rejected")
    assert weights is not None
    assert weights.operators["new_unit"] < 0.7


def test_children_are_drawn_by_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = OperatorWeights({"unit_replacement": 1e9}, {"norm": 1e9})
    monkeypatch.setattr(Credit, "weights", lambda self: taught)
    trial = Trial(tmp_path / "run", workers=0, sets=SETS, reject=0.0)
    trial.go()
    with Store.open(trial.folder) as store:
        made = [row for row in store.designs() if len(row.parents) == 1]
        places = store.places()
    assert len(made) > 5
    assert {row.operator for row in made} == {"unit_replacement"}
    norms = [row for row in made if places[row.id] == "norm"]
    assert len(norms) >= len(made) - 2, "all but where the tree has no other norm"
