"""Fitness: direction, percent, noise, and nothing that is not a number."""

from __future__ import annotations

import math

import pytest

from genesys_engine.engine.fitness import gain, higher_is_better, metric_value, noise


def score(value: float, up: bool = False) -> dict[str, object]:
    return {"value": value, "stderr": None, "higher_is_better": up, "n": 1}


def test_gain_counts_up_in_both_directions() -> None:
    assert gain(1.9, 2.0, up=False) == pytest.approx(5.0)
    assert gain(0.55, 0.50, up=True) == pytest.approx(10.0)
    assert gain(2.1, 2.0, up=False) < 0


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


def test_noise_is_unknown_below_two_seeds() -> None:
    assert noise([2.0]) is None
    assert noise([2.0, 2.0]) == 0.0
    assert noise([1.9, 2.0, 2.1]) == pytest.approx(5.0)
