"""Pace: what the rates of a minute let through, on a clock that a test moves."""

from __future__ import annotations

import pytest

from genesys_engine.engine.llm import pacing
from genesys_engine.engine.llm.pacing import Bucket, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float, check: object) -> None:
        self.now += seconds + 1e-6  # never less than the clock can tell


@pytest.mark.parametrize(("expected", "used"), [(5_000, 4_600), (5_000, 1_200)])
def test_requests_larger_than_a_minute_keep_to_the_rate(
    expected: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(pacing, "pause", clock.pause)
    pace = Pace(1)
    pace._tokens = Bucket(1_000, lambda: clock.now)
    for _ in range(40):
        with pace.admitted(expected, lambda: None):
            pass
        pace.used(expected, used)
    with pace.admitted(expected, lambda: None):  # it waits until all before it is paid
        pass
    assert 40 * used / (clock.now / 60) == pytest.approx(1_000, rel=0.03)
