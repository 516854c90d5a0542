"""A design that fails its confirmation: out of everything at once, its descendants confirmed too.

The loop, its operators and its store are real; trainings and audits are answered from a record, so
that many designs can fail.  `test_leaks_in_runs` has real leaks, trainings and blind tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_run import Trial, go_in_parts

from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError

SEED = 0  # the only one, gpt


SETS = (
    'population.seeds=["gpt"]',
    "population.crossover_after=4",
    "population.parents=[0.0, 0.6, 0.4]",
    "ladder.rungs.1.verifications=14",
    "ladder.rungs.2.verifications=4",
)


def leaky(folder: Path, seed: int = 10, **values: object) -> Trial:
    return Trial(folder, leaks=0.6, seed=seed, sets=SETS, **values)


def disqualified(trial: Trial) -> list[int]:
    return [event["design"] for event in trial.events("design.disqualified")]


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_a_disqualified_design_is_named_nowhere_any_more(tmp_path: Path, mode: str) -> None:
    trial = leaky(tmp_path / "run", mode=mode, finalists=2)
    evolution = trial.go()
    state, out = evolution.state, disqualified(trial)
    assert len(out) >= 3
    with Store.open(trial.folder) as store:
        log = list(store.events())
        named = [row.id for row in store.leaderboard()]
        assert store.disqualified().keys() == set(out)
        for design in out:
            assert store.design(design).rung is None
            assert "causality.leak" in store.disqualified()[design]
    assert not set(out) & set(named)
    entered = state.finals.entries.designs
    assert not set(out) & {state.best, *state.members, *state.offspring, *entered}
    known: set[int] = set()
    for event in log:
        if event.kind == "design.disqualified":
            known.add(event.payload["design"])
        elif event.kind == "design.started":
            assert not known & set(event.payload["parents"])
        elif event.kind in ("verification.started", "best.changed"):
            assert event.payload["design"] not in known
        elif event.kind == "finals.opened":
            assert not known & set(event.payload["finalists"])


def test_nobody_is_named_the_best_before_the_second_look(tmp_path: Path) -> None:
    trial = leaky(tmp_path / "run", seed=11)
    trial.go()
    confirmed = {SEED: 2}
    named = 0
    with Store.open(trial.folder) as store:
        for event in store.events():
            about = event.payload
            if event.kind == "design.confirmed":
                confirmed[about["design"]] = about["rung"]
            elif event.kind == "best.changed":
                named += 1
                assert confirmed[about["design"]] >= about["rung"]
        top = store.leaderboard()[0]
    assert named > 1
    assert confirmed[top.id] >= (top.rung or 0)


def test_in_question_no_design_becomes_a_parent_or_climbs(tmp_path: Path) -> None:
    trial = leaky(tmp_path / "run", workers=3, delay_s=0.01)
    trial.go()
    in_question: set[int] = set()
    with Store.open(trial.folder) as store:
        log = list(store.events())
    assert sum(event.kind == "confirmation.started" for event in log) > 5
    for event in log:
        about = event.payload
        if event.kind == "confirmation.started":
            in_question.add(about["design"])
        elif event.kind in ("design.confirmed", "design.disqualified"):
            in_question.discard(about["design"])
            in_question |= set(about.get("in_question", ()))
        elif event.kind == "design.started":
            assert not in_question & set(about["parents"])
        elif event.kind in ("verification.started", "best.changed"):
            assert about["design"] not in in_question


def test_descendants_of_a_disqualified_design_are_looked_at(tmp_path: Path) -> None:
    trial = leaky(tmp_path / "run")
    state = trial.go().state
    looked_at = state.confirmations
    assert looked_at.suspects, "a design with descendants was disqualified"
    for standing in state.standings.values():
        suspect = any(p in looked_at.disqualified | looked_at.suspects for p in standing.parents)
        assert (standing.design in looked_at.suspects) == suspect
        if suspect and standing.gains:
            assert looked_at.has_passed(standing.design, standing.rung)


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_the_log_does_not_depend_on_workers_or_interruptions(tmp_path: Path, mode: str) -> None:
    whole = leaky(tmp_path / "whole", mode=mode, finalists=2, workers=0)
    whole.go()
    fast = leaky(tmp_path / "fast", mode=mode, finalists=2, workers=5, delay_s=0.01)
    fast.go()
    assert fast.digest() == whole.digest()
    parts = leaky(tmp_path / "parts", mode=mode, finalists=2, delay_s=0.005)
    go_in_parts(parts, range(3, 500, 9))
    assert len(parts.executors) > 3, "it was stopped several times"
    assert parts.digest() == whole.digest()
    audits = sum(executor.calls["audit"] for executor in parts.executors)
    assert audits == whole.executors[0].calls["audit"], "no look was done twice"


def test_a_leaking_reference_ends_the_run(tmp_path: Path) -> None:
    only = ('population.seeds=["gpt"]', "budget.designs=1", "ladder.rungs.0.verifications=4")
    trial = Trial(tmp_path / "run", leaks=1.0, sets=only)
    with pytest.raises(InputError, match="the reference design is disqualified"):
        trial.go()
