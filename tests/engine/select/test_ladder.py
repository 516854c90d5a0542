"""The ladder: hard caps, gradual release, successive halving."""

from __future__ import annotations

import pytest

from genesys_engine.engine.select.ladder import Ladder


def spend(ladder: Ladder, rung: int, count: int) -> None:
    for _ in range(count):
        ladder.spend(rung)


def test_gradual_release_follows_the_rung_below() -> None:
    ladder = Ladder([256, 64, 16, 4, 1], "gradual")
    assert ladder.free(1, supply_ended=False) == 0
    spend(ladder, 0, 4)
    assert ladder.free(1, supply_ended=False) == 1
    spend(ladder, 0, 124)
    assert ladder.free(1, supply_ended=False) == 32
    spend(ladder, 1, 32)
    assert ladder.free(1, supply_ended=False) == 0
    assert ladder.free(2, supply_ended=False) == 8


def test_halving_opens_when_the_rung_below_is_used_up_or_nothing_more_comes() -> None:
    ladder = Ladder([8, 2], "halving")
    spend(ladder, 0, 7)
    assert ladder.free(1, supply_ended=False) == 0
    assert ladder.free(1, supply_ended=True) == 2
    ladder.spend(0)
    assert ladder.free(1, supply_ended=False) == 2


def test_a_cap_is_hard() -> None:
    ladder = Ladder([2], "gradual")
    spend(ladder, 0, 2)
    assert ladder.free(0, supply_ended=True) == 0
    with pytest.raises(AssertionError):
        ladder.spend(0)
