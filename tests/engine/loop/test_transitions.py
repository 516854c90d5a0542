"""After every step a run stands where it would stand had it just been resumed.

The loop, its operators and its store are real; trainings and audits are answered from a record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_run import Trial

from genesys_engine.engine.loop.evolution import Evolution
from genesys_engine.engine.loop.restore import restore
from genesys_engine.engine.select.ladder import Ladder
from genesys_engine.engine.select.state import State

SETS = ("population.crossover_after=4", "ladder.rungs.1.verifications=14")


def facts(state: State) -> dict[str, Any]:
    """Return all that a decision may look at."""
    own = {name: value for name, value in vars(state).items() if name != "ladder"}
    own["verifications_in_flight"] = +state.verifications_in_flight  # a count of 0 is none
    return {**own, "used": state.ladder.used}


def resumed(run: Evolution) -> State:
    """Return the state that a process would begin with that takes the run up now."""
    state = State(Ladder(run.state.ladder.caps, run.state.ladder.release))
    seed = run.policy.settings.seeds[0]
    restore(run.store, state, reference_seed=seed, measure=run.outcomes.measure)
    return state


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
@pytest.mark.parametrize("leaks", [0.0, 0.6])
def test_the_state_is_at_every_step_what_its_records_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, leaks: float
) -> None:
    steps, publish = 0, Evolution._publish

    def compare(run: Evolution) -> None:
        nonlocal steps
        publish(run)
        here, there = facts(run.state), facts(resumed(run))
        assert {k: (here[k], there[k]) for k in here if here[k] != there[k]} == {}
        steps += 1

    monkeypatch.setattr(Evolution, "_publish", compare)
    trial = Trial(tmp_path / "run", mode=mode, leaks=leaks, finalists=2, seed=11, sets=SETS)
    trial.go()
    assert steps > 100
    assert bool(trial.events("design.disqualified")) is (leaks > 0)
    assert trial.events("finals.opened")
