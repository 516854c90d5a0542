"""The race of the finals in the loop: looks in the log, for any number of workers and after kills.

The loop, its operators and its store are real; trainings are answered from a record in which a
block's own quality counts for nearly everything, so that designs do drop out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_run import Trial

from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.report import write_report
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.verdict import race_of
from genesys_engine.engine.store.replicates import FRESH
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.finals import finals_view
from genesys_engine.engine.views.lines import line_of
from genesys_engine.engine.views.run import RunView, view
from genesys_engine.engine.views.status import status

SETS = ("ladder.finalist_seeds=4", "budget.designs=12")


def raced(folder: Path, **values: Any) -> Trial:
    return Trial(folder, finalists=2, sets=SETS, luck=0.01, **values)


def fresh(trial: Trial, kind: str = "verification.started") -> list[tuple[int, int]]:
    found = [(event["design"], event["replicate"]) for event in trial.events(kind)]
    return [(design, replicate - FRESH) for design, replicate in found if replicate >= FRESH]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = raced(tmp_path_factory.mktemp("finals") / "whole", workers=0)
    trial.go()
    return trial


def test_who_drops_out_is_not_trained_on(whole: Trial) -> None:
    first, *_ = looks = whole.events("finals.look")
    assert [look["seeds"] for look in looks] == [2, 4]
    out = {each["design"] for each in first["dropped"]}
    assert out, "somebody is clearly worse"
    (opened,) = whole.events("finals.opened")
    entered = [*opened["rivals"], *opened["finalists"]]
    later = {design for design, seed in fresh(whole) if seed >= 2}
    assert later == {d for d in entered if d not in out} | {opened["reference"]}
    assert len(fresh(whole)) == 2 * len(entered) + 2 * len(later) < opened["trainings"]
    assert first["to_come"] == 2 * len(later)


def test_the_log_is_the_same_for_any_number_of_workers(whole: Trial, tmp_path: Path) -> None:
    fast = raced(tmp_path / "fast", workers=5, delay_s=0.02)
    fast.go()
    assert fast.digest() == whole.digest()


def test_a_look_comes_after_its_last_training(whole: Trial) -> None:
    with Store.open(whole.folder) as store:
        log = [e for e in store.events() if e.kind.startswith(("finals.", "verification."))]
    done = started = 0
    for event in log:
        if event.kind == "finals.look":
            assert done == started > 0
        elif event.payload.get("replicate", 0) >= FRESH:
            started += event.kind == "verification.started"
            done += event.kind in ("verification.finished", "verification.failed")


def test_a_run_killed_before_between_and_after_looks_goes_on(whole: Trial, tmp_path: Path) -> None:
    cut = raced(tmp_path / "cut")
    total = len(fresh(whole))

    def state() -> tuple[int, int]:
        ended = fresh(cut, "verification.finished") + fresh(cut, "verification.failed")
        return len(ended), len(cut.events("finals.look"))

    stops = [(3, 0), (10, 0), (10, 1), (12, 1), (total, 1)]
    for stop in stops:
        with pytest.raises(Stopped):
            cut.go(lambda stop=stop: "enough" if state() >= stop else None)
    cut.go()
    assert cut.digest() == whole.digest()
    assert len(fresh(cut)) == total, "nothing twice"


def test_the_store_gives_the_race_that_the_log_has(whole: Trial) -> None:
    with Store.open(whole.folder) as store:
        race = race_of(store, noise_floor(store))
    assert [look.record().to_json() for look in race.looks] == whole.events("finals.look")
    assert race.wanted == ()


def test_the_log_status_and_report_say_who_dropped_out(whole: Trial, tmp_path: Path) -> None:
    with Store.open(whole.folder) as store:
        found, run, told = finals_view(store), RunView(), []
        for event in store.events():
            run.apply(event)
            told.append(line_of(event, run))
        page = write_report(store, tmp_path / "report.html").read_text()
        shown = status(store).to_json()
        planned = view(store).finals
    assert found is not None
    assert found.over
    for sentence in found.sentences:
        assert f"finals: {sentence}" in told
        assert sentence in page.replace("&#39;", "'")
    assert shown["finals"]["sentences"] == list(found.sentences)
    assert shown["finals"]["over"]
    places = {row["design"]: row["out_after"] for row in shown["finals"]["entrants"]}
    first = whole.events("finals.look")[0]
    worse = [each["design"] for each in first["dropped"] if each["reason"] != "failed"]
    assert worse
    assert all(places[design] == 2 for design in worse)
    assert planned is not None
    assert planned.done == planned.planned == len(fresh(whole))


def test_a_run_under_way_shows_the_race_so_far(tmp_path: Path) -> None:
    trial = raced(tmp_path / "run")
    with pytest.raises(Stopped):
        trial.go(lambda: "enough" if trial.events("finals.look") else None)
    with Store.open(trial.folder) as store:
        shown, stages = status(store).to_json(), view(store).finals
    assert len(shown["finals"]["looks"]) == 1
    assert not shown["finals"]["over"]
    assert shown["verdict"]["finalists"]
    assert stages is not None
    assert stages.planned == stages.done + shown["finals"]["looks"][0]["to_come"]


def test_one_seed_makes_one_look(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", finalists=1, sets=(*SETS, "ladder.finalist_seeds=1"), luck=0.01)
    trial.go()
    (look,) = trial.events("finals.look")
    assert (look["seeds"], look["to_come"]) == (1, 0)
    assert {seed for _, seed in fresh(trial)} == {0}


def test_a_child_that_fails_in_the_finals_drops_out(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", finalists=3, sets=SETS, luck=0.01, fail=0.25, seed=3)
    trial.go()
    failed = {
        each["design"]
        for look in trial.events("finals.look")
        for each in look["dropped"]
        if each["reason"] == "failed"
    }
    assert failed
    last = trial.events("finals.look")[-1]
    assert not failed & set(last["remaining"])
    with Store.open(trial.folder) as store:
        assert "a training failed" in " ".join(
            (finals_view(store) or pytest.fail("none")).sentences
        )
