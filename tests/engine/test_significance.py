"""How far chance goes: what two sigma hold, and how wide intervals are."""

from __future__ import annotations

import random
import statistics

import pytest

from genesys_engine.engine.significance import SIGMAS, noise_of, normal_quantile, quantile


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
def test_an_equal_design_is_called_different_in_one_case_of_twenty(seeds: int) -> None:
    rng, draws, called = random.Random(seeds), 4000, 0
    for _ in range(draws):
        reference = [rng.gauss(0, 1) for _ in range(seeds)]
        sigma = noise_of(reference)
        assert sigma is not None
        called += abs(rng.gauss(0, 1) - statistics.fmean(reference)) > SIGMAS * sigma
    assert called / draws == pytest.approx(0.05, abs=0.012)


def test_sigma_of_many_seeds_is_their_standard_deviation() -> None:
    gains = [float(i % 7) for i in range(2000)]
    assert noise_of(gains) == pytest.approx(0.98 * statistics.stdev(gains), rel=0.01)
    assert noise_of([1.0]) is None
    assert noise_of([]) is None


def test_quantiles_are_the_published_ones() -> None:
    # Student 1908, as in every table: 0.975 for 1, 2, 10 and 30 degrees of freedom
    found = [quantile(freedom) for freedom in (1, 2, 10, 30)]
    assert found == pytest.approx([12.706, 4.303, 2.228, 2.042], abs=1e-3)
    assert quantile(10, comparisons=5) == pytest.approx(3.169, abs=1e-3)
    assert normal_quantile() == pytest.approx(1.960, abs=1e-3)
    assert normal_quantile(comparisons=5) == pytest.approx(2.576, abs=1e-3)
