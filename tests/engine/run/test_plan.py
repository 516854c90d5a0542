"""What a plan says of the time that an experiment will take."""

import pytest

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.run.assembly import load
from genesys_engine.engine.run.plan import Plan, RungPlan, Speed, _extrapolate, plan
from genesys_engine.engine.run.settings import rung_settings


def test_rungs_that_the_deadline_would_cut_off_are_named() -> None:
    rungs = tuple(
        RungPlan(scale, 4, 1000, 4000, each, 2 * each)
        for scale, each in (("0.2M", 50.0), ("1M", 300.0), ("4M", 900.0))
    )
    known = Plan(rungs, checks_s=1.0, seconds=2501.0, relative_speed={"gpt": 1.0, "mamba2": 0.5})
    assert known.too_slow(1800.0) == []  # as long as it may take is not too long
    assert known.too_slow(599.0) == ["1M", "4M"]  # twice as slow as typical: 600 s at 1M


def test_children_like_the_fastest_and_the_slowest_seed_bound_the_estimate(tmp_path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(
        """[[ladder.rungs]]
scale = "0.2M"
verifications = 8
tokens = 100_000

[[ladder.rungs]]
scale = "1M"
verifications = 2
tokens = 1_000_000

[budget]
designs = 5
"""
    )
    experiment = load_experiment(file, [])
    settings = rung_settings(experiment, 2048)
    base = Speed(tokens_per_s=1000.0, overhead_s=10.0, check_s=2.0)
    relative = {"gpt": 1.0, "mamba2": 0.5}
    found = _extrapolate(experiment, settings, base, [1000.0, 500.0], relative)
    workers = min(experiment.run.workers, experiment.run.lookahead)
    low, top = found.rungs[:2]
    assert low.seconds_each == pytest.approx(100 / (2 / 3) + 10)  # harmonic mean of 1 and 1/2
    assert top.seconds_each == pytest.approx(2000 / (2 / 3) + 20)  # scores at half the speed
    fastest = found.checks_s + (8 * (100 + 10) + 2 * (2000 + 20)) / workers
    slowest = found.checks_s + (8 * (200 + 10) + 2 * (4000 + 20)) / workers
    assert len(found.rungs) == 2
    assert found.shortest_s == pytest.approx(fastest)
    assert found.longest_s == pytest.approx(slowest)
    assert found.shortest_s < found.seconds < found.longest_s


def test_a_plan_measures_two_seeds_at_least_and_says_how_far_it_is(tmp_path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(
        """[population]
seeds = ["gpt", "retnet", "mamba2"]

[[ladder.rungs]]
scale = "0.2M"
verifications = 4
tokens = 40_000

[corpus]
max_bytes = 1_000_000
heldout = 0.2
vocab_size = 512

[budget]
designs = 2
"""
    )
    said: list[str] = []
    found = plan(load(file, []), said.append)
    # On a machine that is busy the third seed may be left out, and then it is named.
    assert {"gpt", "retnet"} <= set(found.relative_speed)
    assert found.not_measured == tuple({"mamba2"} - set(found.relative_speed))
    assert found.relative_speed["gpt"] == 1.0
    assert found.rungs[0].seconds > 0
    assert 0 < found.shortest_s < found.seconds < found.longest_s
    steps = [line[:13] for line in said if line.startswith("measuring")]
    assert steps == [f"measuring {i + 1}/3" for i in range(len(found.relative_speed))]
