"""Runs that get more of what they have: what may change, and a log that goes on as decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_run import Trial

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.extension import Change, changes, demand_extension, extend
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.run import FINISHED, RUNNING, view
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.host import PluginHost

MORE = ("budget.designs=26", "ladder.rungs.0.verifications=36", "ladder.finalist_seeds=3")
RUNG = ("ladder.rungs.3.scale=14M", "ladder.rungs.3.verifications=3")


def extended(trial: Trial, sets: tuple[str, ...]) -> Trial:
    """Reopen a finished run as `resume --set` does."""
    file = trial.folder.with_suffix(".toml")
    was, now = load_experiment(file, trial.sets), load_experiment(file, [*trial.sets, *sets])
    found = changes(was.decisive(), now.decisive())
    demand_extension(found, len(was.ladder.rungs), str(file))
    with Store.open(trial.folder, write=True) as store, store.transaction():
        extend(store, found, run_started(RunContext(PluginHost(), now, PreparedCorpus(".", 1024))))
        store.set_meta("experiment", now.to_json())
    trial.sets = (*trial.sets, *sets)
    return trial


def trained(trial: Trial) -> int:
    return sum(executor.calls["train"] for executor in trial.executors)


@pytest.mark.parametrize("sets", [MORE, RUNG, MORE + RUNG])
def test_an_extended_log_does_not_depend_on_workers_or_interruptions(
    tmp_path: Path, sets: tuple[str, ...]
) -> None:
    digests = set()
    for workers in (0, 4):
        trial = Trial(tmp_path / f"w{workers}", workers=workers, finalists=2)
        trial.go()
        before = trained(trial)
        extended(trial, sets).go()
        assert trained(trial) > before
        assert trained(trial) == len(trial.events("verification.started")), "nothing twice"
        digests.add(trial.digest())
    cut = Trial(tmp_path / "cut", finalists=2)
    cut.go()
    extended(cut, sets)
    for steps in range(3, 200, 9):
        countdown = iter(range(steps))
        try:
            cut.go(lambda left=countdown: None if next(left, None) is not None else "stop")
        except Stopped:
            continue
        break
    digests.add(cut.digest())
    assert len(digests) == 1


def test_more_designs_are_made_and_the_finals_are_held_again(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", finalists=2)
    trial.go()
    first = list(trial.events("verification.started"))
    extended(trial, MORE).go()
    accepted = [e for e in trial.events("design.accepted") if not e["operator"].startswith("seed:")]
    assert len(accepted) == 26
    second = trial.events("verification.started")
    assert second[: len(first)] == first
    again, (_, opened) = second[len(first) :], trial.events("finals.opened")
    fresh = {(e["design"], e["replicate"]) for e in second if e["replicate"] >= 1000}
    entered = {*opened["rivals"], *opened["finalists"]}
    assert {(design, 1000 + seed) for design in entered for seed in range(2)} <= fresh
    last = trial.events("finals.look")[-1]
    assert (last["seeds"], last["to_come"]) == (3, 0), "a look more than before"
    assert {(design, 1002) for design in last["remaining"]} <= fresh
    assert len(again) == len({(e["design"], e["rung"], e["replicate"]) for e in again})


def test_a_further_rung_takes_the_best_of_the_one_that_was_the_last(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run")
    state = trial.go().state
    at_top = [s.design for s in state.ranked() if s.rung == 2]
    extended(trial, RUNG)
    evolution = trial.go()
    climbed = [e["design"] for e in trial.events("verification.started") if e["rung"] == 3]
    assert climbed[0] == state.reference
    assert set(climbed) <= set(at_top)
    with Store.open(trial.folder) as store:
        fits = [store.report(design).measurements.fits for design in set(climbed)]
    assert all("14M" in fit for fit in fits), "the check was made again at the new scale"
    assert evolution.state.ladder.used[3] == len(climbed)


def test_the_view_of_an_extended_run_goes_on(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", finalists=2)
    trial.go()
    extended(trial, MORE + RUNG)
    with Store.open(trial.folder) as store:
        seen = view(store)
    assert seen.state == RUNNING != FINISHED
    assert seen.designs_planned == 26
    assert [(rung.scale, rung.planned) for rung in seen.rungs] == [
        ("0.2M", 36), ("1M", 7), ("4M", 2), ("14M", 3),
    ]  # fmt: skip


WAS: dict[str, Any] = {
    "budget": {"designs": 8},
    "ladder": {"finalists": 1, "rungs": [{"scale": "1M", "verifications": 4, "tokens": 9}]},
    "trainer": {"use": "torch"},
}


def test_every_key_that_differs_is_found_with_both_values() -> None:
    now = {
        "budget": {"designs": 9},
        "ladder": {
            "finalists": 1,
            "rungs": [
                {"scale": "1M", "verifications": 4, "tokens": 8},
                {"scale": "4M", "verifications": 2},
            ],
        },
        "trainer": {"use": "torch", "peak_lr": 0.1},
    }
    assert changes(WAS, now) == [
        Change("budget.designs", 8, 9),
        Change("ladder.rungs.0.tokens", 9, 8),
        Change("ladder.rungs.1.scale", None, "4M"),
        Change("ladder.rungs.1.verifications", None, 2),
        Change("trainer.peak_lr", None, 0.1),
    ]
    with pytest.raises(InputError) as refused:
        demand_extension(changes(WAS, now), 1, "run/experiment.toml")
    for part in ("ladder.rungs.0.tokens = 8 (the run has 9)", "trainer.peak_lr = 0.1"):
        assert part in refused.value.message
    assert "budget.designs" not in refused.value.message
    assert "--set 'ladder.rungs.0.tokens=9'" in (refused.value.hint or "")
    assert "take out trainer.peak_lr" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("key", "was", "now", "allowed"),
    [
        ("budget.designs", 8, 9, True),
        ("budget.designs", 8, 7, False),
        ("ladder.rungs.0.verifications", 4, 5, True),
        ("ladder.rungs.0.verifications", 4, 3, False),
        ("ladder.rungs.1.scale", None, "4M", True),
        ("ladder.rungs.0.scale", "1M", None, False),
        ("ladder.rungs.0.noise_seeds", 1, 3, False),
        ("ladder.finalists", 0, 2, True),
        ("ladder.finalist_seeds", 3, 2, False),
        ("population.seeds", ["gpt"], ["gpt", "ttt"], False),
    ],
)
def test_a_run_may_only_grow(key: str, was: Any, now: Any, allowed: bool) -> None:
    if allowed:
        demand_extension([Change(key, was, now)], 1, "here")
        return
    with pytest.raises(InputError, match="the experiment has changed"):
        demand_extension([Change(key, was, now)], 1, "here")
