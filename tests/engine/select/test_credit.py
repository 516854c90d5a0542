"""Adaptive operator selection: what gains is drawn more, what fails is drawn less."""

from __future__ import annotations

import random

import pytest

from genesys_engine.engine.jobs.tasks import OperatorWeights
from genesys_engine.engine.select.credit import LIMIT, PRIOR, WINDOW, Credit

SEED = 0


def credit(*trials: tuple[str, float | None]) -> Credit:
    """Return the credit of children of one seed: (operator, gain), None for a rejected one."""
    found = Credit()
    found.measured(SEED, 0.0)
    for design, (operator, gain) in enumerate(trials, 1):
        found.made(design, operator, "", (SEED,), failed=gain is None)
        if gain is not None:
            found.measured(design, gain)
    return found


def test_nothing_is_learned_from_nothing() -> None:
    assert Credit().weights() == OperatorWeights({}, {})


def test_what_gains_is_drawn_more_and_what_fails_less() -> None:
    found = credit(*[("good", 3.0), ("fair", 1.0), ("bad", -2.0), ("rejected", None)] * 8)
    weights = found.weights().operators
    assert weights["good"] > 2 > weights["fair"] > weights["bad"] > weights["rejected"]
    assert weights["rejected"] < 0.3
    assert 1 / LIMIT <= min(weights.values()) < max(weights.values()) <= LIMIT


def test_equal_children_teach_nothing() -> None:
    assert set(credit(*[("one", 1.0), ("two", 1.0)] * 5).weights().operators.values()) == {1.0}


def test_all_have_failed() -> None:
    assert credit(("one", None), ("two", None)).weights() == OperatorWeights({}, {})


def test_a_single_trial_says_little() -> None:
    weights = credit(("lucky", 9.0), *[("known", 0.1 * i) for i in range(9)]).weights().operators
    assert 1 < weights["lucky"] < (1 + 3 / PRIOR) ** 2


def test_the_gain_is_over_the_better_parent() -> None:
    found = credit(("a", 5.0), ("b", -5.0))
    found.made(3, "down", "", (1, 2), failed=False)
    found.measured(3, 4.0)  # 1 % worse than its parent
    found.made(4, "up", "", (2,), failed=False)
    found.measured(4, -3.0)  # 2 % better
    weights = found.weights().operators
    assert weights["up"] > 1 > weights["down"]


def test_places_are_learned_apart_from_operators() -> None:
    found = Credit()
    for design in range(1, 21):
        place = ("sequence_mixer", "norm", "")[design % 3]
        found.made(design, "unit_replacement", place, (), failed=False)
        found.measured(design, 2.0 if place == "sequence_mixer" else 0.0)
    weights = found.weights()
    assert weights.places["sequence_mixer"] > 1 > weights.places["norm"]
    assert "" not in weights.places
    assert weights.operators == {"unit_replacement": 1.0}


@pytest.mark.parametrize("leak", [False, True])
def test_the_order_of_results_does_not_matter(leak: bool) -> None:
    rng = random.Random(3)
    trials = [
        (rng.choice("abc"), rng.gauss(0, 1) if rng.random() < 0.8 else None) for _ in range(40)
    ]
    live = credit(*trials)
    rebuilt = Credit()
    for design, (operator, gain) in enumerate(trials, 1):
        rebuilt.made(design, operator, "", (SEED,), failed=gain is None)
    rebuilt.measured(SEED, 0.0)
    for design, (_, gain) in reversed(list(enumerate(trials, 1))):
        if gain is not None:
            rebuilt.measured(design, gain)
    if leak:
        best = max(range(1, 41), key=lambda design: trials[design - 1][1] or -9)
        before = live.weights()
        live.disqualified(best)
        rebuilt.disqualified(best)
        assert live.weights() != before
    assert live.weights() == rebuilt.weights()


def test_old_trials_are_forgotten() -> None:
    found = credit(*[("old", 9.0)] * 50, *[("new", 1.0)] * WINDOW)
    assert list(found.weights().operators) == ["new"]


def test_a_search_spends_its_children_where_they_gain() -> None:
    """Five operators: one makes better children in one case of three, four in five of another's
    children fail.  Without learning each has a fifth of the draws."""
    names, drawn = ["good", "b", "c", "d", "fails"], list[str]()
    for seed in range(8):
        rng, found = random.Random(seed), Credit()
        for design in range(1, 101):
            weights = found.weights().operators
            (name,) = rng.choices(names, [weights.get(each, 1.0) for each in names])
            found.made(design, name, "", (), failed=name == "fails" and rng.random() < 0.8)
            found.measured(design, rng.gauss(3.0 * (name == "good" and rng.random() < 1 / 3), 1.0))
            if design > 50:
                drawn.append(name)
    assert drawn.count("good") > 0.3 * len(drawn)
    assert drawn.count("fails") < 0.1 * len(drawn)
