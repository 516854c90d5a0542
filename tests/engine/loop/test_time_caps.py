"""Caps on time: said at half and at four fifths, once each, and an end when they are used up."""

from __future__ import annotations

from genesys_engine.engine.loop.time_caps import HourCap, HourCaps
from genesys_engine.engine.store.event_types import BudgetWarning


class Clock:
    """Seconds that a test sets."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def test_each_share_is_told_once_and_the_cap_ends_the_run() -> None:
    clock, told = Clock(), list[BudgetWarning]()
    caps = HourCaps(
        HourCap("wall_hours", 2.0, clock), HourCap("device_hours", None, clock), tell=told.append
    )
    for seconds in (0, 3599, 3600, 5000, 5760, 7199):
        clock.seconds = seconds
        assert caps.reached() is None
    assert told == [
        BudgetWarning(budget="wall_hours", used=1.0, cap=2.0),
        BudgetWarning(budget="wall_hours", used=1.6, cap=2.0),
    ]
    clock.seconds = 7200
    assert caps.reached() == "budget.wall_hours"
    assert len(told) == 2


def test_what_an_earlier_session_said_is_not_said_again() -> None:
    clock, told = Clock(4000), list[BudgetWarning]()
    caps = HourCaps(HourCap("device_hours", 2.0, clock), tell=told.append)
    assert caps.reached() is None
    assert told == []
    clock.seconds = 6000
    assert caps.reached() is None
    assert [warning.used for warning in told] == [1.67]


def test_two_shares_that_are_passed_at_once_are_told_once() -> None:
    clock, told = Clock(), list[BudgetWarning]()
    caps = HourCaps(HourCap("wall_hours", 2.0, clock), tell=told.append)
    assert caps.reached() is None
    clock.seconds = 6000
    assert caps.reached() is None
    assert caps.reached() is None
    assert told == [BudgetWarning(budget="wall_hours", used=1.67, cap=2.0)]
