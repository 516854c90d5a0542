"""How far chance goes: what two sigma hold, and how wide intervals are."""

from __future__ import annotations

import random
import statistics

import pytest

from genesys_engine.engine.score.noise import gain_sigmas, noise_by_rung, noise_of, widening
from genesys_engine.engine.score.significance import SIGMAS, normal_quantile, quantile


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
def test_an_equal_design_is_called_different_in_one_case_of_twenty(seeds: int) -> None:
    rng, draws, called = random.Random(seeds), 4000, 0
    for _ in range(draws):
        reference = [rng.gauss(0, 1) for _ in range(seeds)]
        noise = noise_of(reference)
        assert noise is not None
        called += abs(rng.gauss(0, 1) - statistics.fmean(reference)) > SIGMAS * noise.gain
    assert called / draws == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("above", [0, 1])
def test_a_rung_that_borrows_its_spread_allows_for_its_own_trainings(above: int) -> None:
    rng, draws, called = random.Random(above), 4000, {"gain": 0, "pair": 0}
    for _ in range(draws):
        below = [rng.gauss(0, 1) for _ in range(3)]
        noise = noise_by_rung([below, [0.0] * above])[1]
        assert noise is not None
        one, other = rng.gauss(0, 1), rng.gauss(0, 1)  # designs or the reference, trained once
        called["gain"] += abs(one - other) > SIGMAS * noise.gain
        called["pair"] += abs(one - other) > SIGMAS * noise.pair
    for wrong in called.values():
        assert wrong / draws == pytest.approx(0.05, abs=0.012)


def test_noise_is_taken_from_the_nearest_rung_below_that_shows_it() -> None:
    low, high = [-1.0, 0.0, 1.0], [-2.0, 2.0]
    found = noise_by_rung([[0.0], low, [0.0], high, []])
    assert found == [None, noise_of(low), noise_of(low, 1), noise_of(high), noise_of(high, 1)]
    assert gain_sigmas(found)[:2] == (None, pytest.approx(4.303 * (4 / 3) ** 0.5 / 2, abs=1e-3))
    assert noise_by_rung([]) == []


def test_sigma_of_many_seeds_is_their_standard_deviation() -> None:
    gains = [float(i % 7) for i in range(2000)]
    noise = noise_of(gains)
    assert noise is not None
    assert noise.gain == pytest.approx(0.98 * statistics.stdev(gains), rel=0.01)
    assert noise.pair == pytest.approx(noise.gain * 2**0.5, rel=0.001)
    assert noise_of([1.0]) is None
    assert noise_of([]) is None


def test_few_seeds_widen_sigma_as_the_docs_say() -> None:
    assert [round(widening(n), 1) for n in (2, 3, 5, 10)] == [7.8, 2.5, 1.5, 1.2]


def test_quantiles_are_the_published_ones() -> None:
    # Student 1908, as in every table: 0.975 for 1, 2, 10 and 30 degrees of freedom
    found = [quantile(freedom) for freedom in (1, 2, 10, 30)]
    assert found == pytest.approx([12.706, 4.303, 2.228, 2.042], abs=1e-3)
    assert quantile(10, comparisons=5) == pytest.approx(3.169, abs=1e-3)
    assert normal_quantile() == pytest.approx(1.960, abs=1e-3)
    assert normal_quantile(comparisons=5) == pytest.approx(2.576, abs=1e-3)
