"""Fitness: direction, percent, noise, and nothing that is not a number."""

from __future__ import annotations

import math
import statistics

import pytest

from genesys_engine.engine.jobs.replies import MAX_ABS_SCORE
from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.score.fitness import (
    Measure,
    Reading,
    Unmeasured,
    fitness_gain,
    gain,
    higher_is_better,
    metric_value,
    objective_gains,
    spread,
)
from genesys_engine.engine.score.noise import noise_of


def score(value: float, up: bool = False) -> Score:
    return Score(value, None, higher_is_better=up, n=1)


def test_gain_counts_up_in_both_directions() -> None:
    assert gain(1.9, 2.0, up=False) == pytest.approx(5.0)
    assert gain(0.55, 0.50, up=True) == pytest.approx(10.0)
    assert gain(2.1, 2.0, up=False) < 0


@pytest.mark.parametrize("value", [MAX_ABS_SCORE, -MAX_ABS_SCORE])
def test_the_largest_scores_have_gains_and_means(value: float) -> None:
    assert math.isfinite(gain(value, 2.0, up=False, unit=1e-100))
    scores = {f"{name}:acc": score(value, True) for name in "abc"}
    assert metric_value(scores, "accuracy") == pytest.approx(value)
    noise = noise_of([value, 1.0, -value])
    assert noise is not None
    assert math.isfinite(noise.gain)


def test_not_finite_and_missing_are_no_value() -> None:
    assert metric_value({"m": score(math.nan)}, "m") is None
    assert metric_value({"m": score(math.inf)}, "m") is None
    assert metric_value({}, "m") is None
    assert metric_value({"m": score(1.0)}, "accuracy") is None


def test_accuracy_is_the_mean_over_tasks() -> None:
    scores = {"a:acc": score(0.5, True), "b:acc": score(0.7, True), "bits_per_byte": score(3.0)}
    assert metric_value(scores, "accuracy") == pytest.approx(0.6)
    assert higher_is_better(scores, "accuracy")
    assert not higher_is_better(scores, "bits_per_byte")


SHARE = Measure(("bits_per_byte", "a:acc"), "untrained", ("b:acc",))
UNTRAINED = {
    "untrained": {
        "bits_per_byte": score(8.0),
        "a:acc": score(0.25, True),
        "b:acc": score(0.25, True),
    }
}


def read(bits: float, a: float, b: float = 0.5, *, base: bool = True) -> Reading:
    scores = {"bits_per_byte": score(bits), "a:acc": score(a, True), "b:acc": score(b, True)}
    return SHARE.read(scores, UNTRAINED, base=base)


def test_a_gain_may_be_a_share_of_what_training_gains() -> None:
    """0 is the reference, -100 its untrained self, 100 twice what training gained."""
    references = [read(3.0, 0.45)]
    assert fitness_gain(read(3.0, 0.45, base=False), references) == 0.0
    assert fitness_gain(read(8.0, 0.25, base=False), references) == pytest.approx(-100.0)
    assert fitness_gain(read(2.5, 0.47, base=False), references) == pytest.approx(10.0)
    assert fitness_gain(read(2.5, 0.45, base=False), references) == pytest.approx(5.0), "the mean"
    assert objective_gains(read(3.0, 0.45, 0.55), references) == {"b:acc": pytest.approx(20.0)}


def test_several_trainings_of_the_reference_are_averaged() -> None:
    references = [read(2.9, 0.44), read(3.1, 0.46)]
    assert fitness_gain(read(3.0, 0.45, base=False), references) == pytest.approx(0.0)


def test_the_spread_is_that_of_the_very_gains() -> None:
    values = [2.5, 2.53, 2.47, 2.51]
    mean = statistics.fmean(values)
    plain, share = Measure(("bits_per_byte",)), Measure(("bits_per_byte",), "untrained")
    for measure, controls, unit in ((plain, {}, mean), (share, UNTRAINED, 8.0 - mean)):
        readings = [measure.read({"bits_per_byte": score(v)}, controls, base=True) for v in values]
        assert spread(readings) == pytest.approx([100 * (mean - v) / unit for v in values])
    mixed = [read(3.0, 0.45), read(3.1, 0.47), read(2.8, 0.43)]
    assert spread(mixed) == [fitness_gain(reading, mixed) for reading in mixed]
    assert spread([]) == []


@pytest.mark.parametrize(
    ("bits", "accuracy", "controls", "said"),
    [
        (math.nan, 0.4, UNTRAINED, "the metric bits_per_byte is missing or not finite"),
        (8.0, 0.4, UNTRAINED, "share of its bits_per_byte: 8 trained against 8 untrained"),
        (3.0, 0.25, UNTRAINED, "share of its a:acc: 0.25 trained against 0.25 untrained"),
        (3.0, 0.4, {}, "its untrained control has no bits_per_byte"),
    ],
)
def test_what_cannot_be_measured_says_why(
    bits: float, accuracy: float, controls: dict[str, object], said: str
) -> None:
    scores = {
        "bits_per_byte": score(bits),
        "a:acc": score(accuracy, True),
        "b:acc": score(0.4, True),
    }
    with pytest.raises(Unmeasured, match=said):
        SHARE.read(scores, controls, base=True)


def test_a_reference_that_scores_0_is_no_base() -> None:
    with pytest.raises(Unmeasured, match="it scores 0"):
        Measure(("a:acc",)).read({"a:acc": score(0.0, True)}, {}, base=True)
    assert (
        Measure(("a:acc",)).read({"a:acc": score(0.0, True)}, {}, base=False).points[0].value == 0
    )


def test_it_can_be_said() -> None:
    assert str(Measure.of({"metric": "bits_per_byte"})) == "bits_per_byte"
    both = {"metric": ["bits_per_byte", "accuracy"], "relative_to": "untrained"}
    assert str(Measure.of(both)) == "bits_per_byte and accuracy, as a share of what training gains"
