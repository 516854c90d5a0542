"""What a plan says of the time that an experiment will take."""

from genesys_engine.engine.plan import Plan, RungPlan


def test_rungs_that_the_deadline_would_cut_off_are_named() -> None:
    rungs = tuple(
        RungPlan(scale, 4, 1000, 4000, each, 2 * each)
        for scale, each in (("0.2M", 50.0), ("1M", 300.0), ("4M", 900.0))
    )
    plan = Plan(rungs, checks_s=1.0, seconds=2501.0, relative_speed={"gpt": 1.0, "mamba2": 0.5})
    assert plan.too_slow(1800.0) == []  # as long as it may take is not too long
    assert plan.too_slow(599.0) == ["1M", "4M"]  # twice as slow as typical: 600 s at 1M
