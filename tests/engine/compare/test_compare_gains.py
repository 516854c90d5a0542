import math

import pytest

from genesys_engine.engine.compare.gains import area_under, gains


def test_the_measures_of_a_series():
    found = gains([1.0, 3.0, 2.0, 4.0])
    assert (found.end, found.peak, found.drawdown) == (3.0, 3.0, -1.0)
    assert found.volatility == pytest.approx(math.sqrt(3))  # of +2, -1, +2
    assert found.sharpe == pytest.approx(1 / math.sqrt(3))


def test_what_cannot_be_known_is_none():
    assert gains([]) is gains([2.0]) is None, "without a step there is no gain"
    assert gains([2.0, 3.0]).volatility is None
    flat = gains([1.0, 2.0, 3.0])  # every step alike
    assert (flat.volatility, flat.sharpe, flat.drawdown) == (0.0, None, 0.0)
    assert gains([0.1 * i for i in range(9)]).sharpe is None, "alike but for rounding"


def test_the_deepest_fall_counts_from_the_highest_peak_before_it():
    assert gains([5.0, 1.0, 6.0, 4.0]).drawdown == -4.0


def test_the_area_is_the_mean_height_of_a_staircase_from_cost_0():
    assert area_under([0, 10, 20], [0.0, 1.0, 3.0], 40) == pytest.approx((10 * 1 + 20 * 3) / 40)
    assert area_under([10, 20], [1.0, 3.0], 40) == pytest.approx((10 * 1 + 20 * 3) / 40)
    assert area_under([10, 20], [1.0, 3.0], 15) == pytest.approx(5 / 15)
    assert area_under([10, 10], [1.0, 3.0], 20) == pytest.approx(1.5)
    assert area_under([10], [1.0], 10) == area_under([], [], 10) == 0
    assert area_under([0], [0.0], 0) is None


def test_a_late_start_costs_area():
    assert area_under([10], [2.0], 40) == pytest.approx(1.5)
    assert area_under([30], [2.0], 40) == pytest.approx(0.5)
