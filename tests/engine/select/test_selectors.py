"""Selectors: reproducible, within their quadrant, and robust at the edges."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from genesys_engine.engine.score.fitness import DesignFitness
from genesys_engine.engine.select.selectors import (
    Nsga2Options,
    Nsga2Selector,
    QuadrantSelector,
    RandomSelector,
    SelectionOptions,
    TournamentOptions,
    TournamentSelector,
)
from genesys_engine.engine.select.strategies import (
    AgingOptions,
    AgingSelector,
    LocalOptions,
    LocalSelector,
)
from genesys_engine.plugins.api import Candidates

SELECTORS = [
    RandomSelector(SelectionOptions()),
    QuadrantSelector(SelectionOptions()),
    TournamentSelector(TournamentOptions()),
    Nsga2Selector(Nsga2Options()),
    AgingSelector(AgingOptions()),
    LocalSelector(LocalOptions()),
]


def candidates(count: int, seed: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    return Candidates(
        design=np.arange(count, dtype=np.int64),
        fitness=rng.normal(size=count),
        confidence=rng.integers(1, 4, size=count).astype(float),
        parameters=rng.uniform(1e5, 2e5, size=count),
        flops=rng.uniform(1e6, 2e6, size=count),
    )


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_returns_distinct_valid_positions(selector: RandomSelector, count: int) -> None:
    pool = candidates(count)
    for wanted in (1, 2, 5):
        chosen = selector.parents(pool, wanted, random.Random(1))
        assert len(chosen) == len(set(chosen)) == min(wanted, count)
        assert all(0 <= position < count for position in chosen)
    assert 0 <= selector.promote(pool, random.Random(1)) < count
    assert len(set(selector.survivors(pool, 5))) == min(5, count)


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda s: type(s).__name__)
def test_equal_generators_choose_equally_and_leave_the_global_one_alone(
    selector: RandomSelector,
) -> None:
    pool = candidates(30)
    random.seed(5)
    before = random.getstate()
    first = [selector.parents(pool, 2, random.Random(n)) for n in range(20)]
    random.seed(99)
    second = [selector.parents(pool, 2, random.Random(n)) for n in range(20)]
    assert first == second
    random.seed(5)
    selector.parents(pool, 2, random.Random(3))
    assert random.getstate() == before


def test_quadrant_exploits_the_good_and_confident() -> None:
    fitness = np.array([9.0, 8.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    confidence = np.array([1.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    same = np.ones(8)
    pool = Candidates(np.arange(8), fitness, confidence, same, same)
    selector = QuadrantSelector(SelectionOptions(exploration=0.2))
    rng = random.Random(0)
    parents = Counter(selector.parents(pool, 1, rng)[0] for _ in range(1000))
    promoted = Counter(selector.promote(pool, rng) for _ in range(1000))
    assert 0.75 < parents[1] / 1000 < 0.85, "good and confident, four times in five"
    assert 0.15 < parents[2] / 1000 < 0.25, "poor and confident, the rest"
    assert 0.75 < promoted[0] / 1000 < 0.85, "verifiers take the good and unconfident"
    assert promoted[1] == promoted[2] == 0, "the confident need no verification"


def test_nsga2_keeps_the_front() -> None:
    fitness = np.array([1.0, 5.0, 3.0, 0.0])
    parameters = np.array([1.0, 9.0, 5.0, 9.5])
    flops = np.array([1.0, 9.0, 5.0, 9.5])
    pool = Candidates(np.arange(4), fitness, np.ones(4), parameters, flops)
    assert set(Nsga2Selector(Nsga2Options()).survivors(pool, 3)) == {0, 1, 2}
    quality_only = Nsga2Selector(Nsga2Options(objectives="quality"))
    assert quality_only.survivors(pool, 1) == [1]
    assert quality_only.promote(pool, random.Random(0)) == 1


def test_nsga2_weighs_scores_and_knows_which_way_is_better() -> None:
    same = np.ones(4)
    metrics = {"a:acc": np.array([0.0, 5.0, 1.0, 9.0])}
    fitness = np.array([9.0, 5.0, 1.0, 0.0])
    flops = np.array([2.0, 2.0, 2.0, 1.0])
    pool = Candidates(np.arange(4), fitness, same, same, flops, metrics)
    options = Nsga2Options(objectives="quality+a:acc")
    assert Nsga2Selector.metrics(options) == ("a:acc",)
    assert set(Nsga2Selector(options).survivors(pool, 3)) == {0, 1, 3}
    alone = Nsga2Selector(Nsga2Options(objectives="a:acc"))
    assert alone.survivors(pool, 2) == [3, 1]
    speed = Nsga2Selector(Nsga2Options(objectives="speed+a:acc"))
    assert speed.survivors(pool, 1) == [3]


def test_nsga2_promotes_from_the_front_that_comparing_all_pairs_gives() -> None:
    everything = Nsga2Options(objectives="quality+parameters+speed+a:acc")
    for seed in range(300):
        rng = np.random.default_rng(seed)
        count, levels = int(rng.integers(1, 40)), int(rng.integers(1, 7))  # few levels: many ties
        values = rng.integers(0, levels, size=(4, count)).astype(float)
        fitness, parameters, flops, accuracy = values
        metrics = {"a:acc": accuracy}
        pool = Candidates(np.arange(count), fitness, np.ones(count), parameters, flops, metrics)
        options = everything if seed % 2 else Nsga2Options()
        used = np.stack([fitness, -parameters, -flops, accuracy], axis=1)[:, : 3 + seed % 2]
        front = [
            i
            for i in range(count)
            if not ((used >= used[i]).all(1) & (used > used[i]).any(1)).any()
        ]
        expected = random.Random(seed).choice(front)
        assert Nsga2Selector(options).promote(pool, random.Random(seed)) == expected


def test_nsga2_does_not_compare_all_pairs_to_promote(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = Counter[str]()
    dominates = DesignFitness.dominates

    def counted(self: DesignFitness, other: DesignFitness, obj: slice = slice(None)) -> bool:
        compared["pairs"] += 1
        return bool(dominates(self, other, obj))

    monkeypatch.setattr(DesignFitness, "dominates", counted)
    Nsga2Selector(Nsga2Options()).promote(candidates(200), random.Random(0))
    assert compared["pairs"] < 200 * 20


@pytest.mark.parametrize("text", ["", "quality+", "quality+quality"])
def test_nsga2_refuses_objectives_that_are_none(text: str) -> None:
    with pytest.raises(ValidationError, match="joined by"):
        Nsga2Options(objectives=text)


def test_tournament_favours_the_fit() -> None:
    pool = candidates(50)
    rng = random.Random(0)
    selector = TournamentSelector(TournamentOptions(size=5))
    drawn = [selector.parents(pool, 1, rng)[0] for _ in range(300)]
    assert np.mean(pool.fitness[drawn]) > np.mean(pool.fitness) + 0.5
