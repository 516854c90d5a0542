import math
import random

import pytest

from genesys_engine.engine.common.text import signed
from genesys_engine.engine.compare.statistics import (
    Difference,
    Interval,
    bootstrap_mean,
    in_points,
    mean_interval,
    paired_means,
    paired_rates,
    rate_interval,
    sentence,
    wilson,
)
from genesys_engine.engine.score.standing import NO_DIFFERENCE, NOT_MEASURED, WORSE, outcome


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    found = wilson(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_mirrors_and_knows_nothing_of_nothing():
    for n in (1, 7, 24):
        for k in range(n + 1):
            one, other = wilson(k, n), wilson(n - k, n)
            assert one.low == pytest.approx(1 - other.high)
            assert one.low <= k / n <= one.high
    assert wilson(0, 0) == Interval(0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


def pairs(both, first, second, neither):
    one = [True] * (both + first) + [False] * (second + neither)
    two = [True] * both + [False] * first + [True] * second + [False] * neither
    return one, two


@pytest.mark.parametrize(
    ("table", "value", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:2635, method 10
        ((20, 12, 2, 16), 0.2, 0.0562, 0.3292),
        # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850, airway data
        ((1, 1, 7, 12), -0.286, -0.507, -0.026),
    ],
)
def test_paired_rates_give_the_published_intervals(table, value, low, high):
    found = paired_rates(*pairs(*table))
    assert found.value == pytest.approx(value, abs=5e-4)
    assert found.interval.low == pytest.approx(low, abs=5e-4)
    assert found.interval.high == pytest.approx(high, abs=5e-4)


def test_paired_rates_are_antisymmetric_and_hold_their_value():
    rng = random.Random(3)
    for _ in range(200):
        n = rng.randint(1, 30)
        one = [rng.random() < 0.6 for _ in range(n)]
        two = [rng.random() < 0.3 for _ in range(n)]
        there, back = paired_rates(one, two), paired_rates(two, one)
        assert there.value == pytest.approx(-back.value)
        assert there.interval.low == pytest.approx(-back.interval.high)
        assert -1 <= there.interval.low <= there.value <= there.interval.high <= 1


def test_paired_rates_cover_the_truth():
    # Both arms succeed together on easy items: the pairs are correlated.
    rng = random.Random(11)
    held = 0
    for _ in range(600):
        easy = [rng.random() < 0.5 for _ in range(24)]
        one = [rng.random() < (0.95 if e else 0.65) for e in easy]
        two = [rng.random() < (0.5 if e else 0.1) for e in easy]
        found = paired_rates(one, two).interval
        held += found.low <= 0.8 - 0.3 <= found.high
    assert held / 600 > 0.93


def test_results_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="no pairs"):
        paired_rates([True], [])
    with pytest.raises(ValueError, match="no pairs"):
        paired_means([1.0], [], 1)


def test_the_bootstrap_corrects_for_skew():
    import numpy as np

    values = np.random.default_rng(5).gamma(0.7, size=30)
    found = bootstrap_mean(values.tolist(), 1)
    means = np.random.default_rng(2).choice(values, (20_000, len(values))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))  # of the plain percentile bootstrap
    assert found.low > low + 0.01
    assert found.high > high + 0.02


@pytest.mark.parametrize("values", [[0.1, 0.7], [0.1, 0.2, 0.3], [0.1, 0.1, 0.2, 0.2]])
def test_a_resample_with_the_mean_of_the_data_is_a_tie_however_its_sum_rounds(values):
    # Counted as below or above it, such resamples would move the ends of a symmetric sample.
    found = bootstrap_mean(values, 1)
    assert (found.low, found.high) == pytest.approx((values[0], values[-1]))


def test_the_bootstrap_repeats_and_says_when_it_knows_nothing():
    values = [1.1, 2.3, 4.7, 8.9, 3.1, 5.2, 0.4]
    assert bootstrap_mean(values, 7) == bootstrap_mean(values, 7)
    assert bootstrap_mean(values, 7) != bootstrap_mean(values, 8)
    assert bootstrap_mean([3.0], 7) is None
    assert bootstrap_mean([3.0, 3.0], 7) == Interval(3.0, 3.0)


def test_the_bootstrap_depends_neither_on_the_order_nor_on_the_unit():
    values = [0.3, 0.1, 0.2, 0.7, 0.2, 0.5]
    here = bootstrap_mean(values, 7)
    assert bootstrap_mean(values[::-1], 7) == here
    large = bootstrap_mean([10 * value for value in values], 7)
    assert (large.low, large.high) == pytest.approx((10 * here.low, 10 * here.high))
    three = bootstrap_mean([0.3, 0.1, 0.2], 7)
    whole = bootstrap_mean([3.0, 1.0, 2.0], 7)
    assert (10 * three.low, 10 * three.high) == pytest.approx((whole.low, whole.high))


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_interval_of_a_mean_misses_it_in_one_case_of_twenty(n):
    import numpy as np

    rng = np.random.default_rng(n)
    draws = 300
    found = [mean_interval(rng.normal(size=n).tolist(), 1) for _ in range(draws)]
    missed = sum(not each.low <= 0 <= each.high for each in found)
    assert missed <= 0.05 * draws + 3 * math.sqrt(0.05 * 0.95 * draws)


def test_the_interval_of_a_mean_is_no_narrower_than_the_bootstraps():
    values = [0.0, 0.1, 0.1, 0.2, 9.0]
    wide, bootstrap = mean_interval(values, 1), bootstrap_mean(values, 1)
    assert wide.low <= bootstrap.low
    assert wide.high >= bootstrap.high
    assert mean_interval([3.0], 1) is None
    assert mean_interval([3.0, 3.0, 3.0], 1) is None, "equal values do not tell how far chance goes"


def test_a_rate_over_groups_has_the_interval_of_a_bootstrap_over_groups():
    import numpy as np

    rng = np.random.default_rng(3)
    trials = rng.integers(3, 25, 40)
    counts = np.stack([rng.binomial(trials, rng.beta(1, 4, 40)), trials], axis=1)
    drawn = counts[rng.integers(0, 40, (20_000, 40))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    found = rate_interval([tuple(map(int, pair)) for pair in counts], 1)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.015)
    alike = wilson(*map(int, counts.sum(axis=0)))
    assert found.high - found.low > 1.3 * (alike.high - alike.low)


def test_a_rate_over_groups_is_silent_where_chance_is_not_seen():
    assert rate_interval([], 1) is None
    assert rate_interval([(0, 0), (0, 0)], 1) is None
    assert rate_interval([(3, 9)], 1) is None
    assert rate_interval([(1, 3), (2, 6), (7, 21)], 1) is None, "equal rates, whatever the rounding"
    assert rate_interval([(0, 9), (9, 9)], 1) == Interval(0.0, 1.0)


def test_sentences_have_the_words_of_a_verdict():
    """One form for every standing, in the words and signs of `score.standing` and `common.text`."""
    shown = in_points(paired_rates(*pairs(20, 12, 2, 16)))
    assert sentence("gp", "direct", shown, "valid designs") == (
        "gp is better than direct in valid designs:"
        " +20.0 points (95 % interval +5.6 to +32.9, n = 50)."
    )
    turned = in_points(paired_rates(*reversed(pairs(20, 12, 2, 16))))
    assert sentence("direct", "gp", turned, "x").startswith(
        f"direct is {outcome(WORSE, 'gp')} in x: {signed(-20.0, 1)} points"
    )
    hidden = in_points(paired_rates([True, False, True], [True, True, False]))
    assert sentence("a", "b", hidden, "x").startswith(
        f"a is {outcome(NO_DIFFERENCE, 'b')} in x: 0.0 points (95 % interval −"
    )
    small = Difference(0.04, Interval(0.01, 0.07), 9)
    assert "+0.04 points (95 % interval +0.01 to +0.07, n = 9)" in sentence(
        "a", "b", small, "x", digits=2
    )


@pytest.mark.parametrize(
    ("difference", "found"),
    [
        (Difference(0.0, None, 0), "0 pairs"),
        (Difference(2.0, None, 1), "1 pair"),
        (paired_means([2.0, 3.0], [1.5, 2.5], 1), "+0.5 points in each of 2 pairs"),
    ],
)
def test_where_no_interval_is_known_the_noise_is_not_measured(difference, found):
    assert sentence("a", "b", difference, "x") == f"a against b in x: {NOT_MEASURED} ({found})."
