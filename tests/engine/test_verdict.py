"""The verdict: what may be called better, and what may not."""

from __future__ import annotations

import pytest

from genesys_engine.engine.finals import FRESH, half_width
from genesys_engine.engine.fitness import Point, Reading
from genesys_engine.engine.ladder import Ladder
from genesys_engine.engine.significance import noise_of
from genesys_engine.engine.state import Standing, State
from genesys_engine.engine.verdict import judge

SCALES = ("0.2M", "1M")
SEEDS = ("gpt", "mamba2")


def state(child: dict[int, float] | None, values: list[float]) -> State:
    made = State(Ladder([10, 3], "gradual"))
    made.reference = 0
    made.references[0] = [Reading((Point(value, up=False),)) for value in values]
    made.standings[0] = Standing(0, True, 1.0, 1.0, {0: 0.0, 1: 0.0})
    made.standings[1] = Standing(1, True, 1.0, 1.0, {0: 3.0})
    if child is not None:
        made.standings[2] = Standing(2, False, 1.0, 1.0, child)
    return made


SPREAD = 0.02 / noise_of([-1.0, 0.0, 1.0]).gain
NOISE = [2.0, 2.0 + SPREAD, 2.0 - SPREAD]  # sigma 1 %


@pytest.mark.parametrize(
    ("gains", "values", "said"),
    [
        ({0: 6.0}, NOISE, "better than gpt; +3.00 %, better than the best other seed, mamba2"),
        ({0: 5.4}, NOISE, "better than gpt; +2.40 %, no difference shown from the best other"),
        (
            {0: 5.5},
            NOISE,
            "2 sigma = 2.00 %, from the training seeds of gpt, and 2.45 % between two designs"
            " trained once each at 0.2M.",
        ),
        (
            {0: 6.0, 1: 4.0},
            NOISE,
            "2 sigma = 1.58 % for a mean over 2 rungs, from the training seeds of gpt, and 2.45 %"
            " between two designs trained once each at 1M.",
        ),
        ({0: 1.9, 1: 0.9}, NOISE, "+1.40 %, no difference shown from gpt"),
        ({0: 1.9, 1: 1.3}, NOISE, "+1.60 %, better than gpt"),
        ({0: 1.9}, NOISE, "no difference shown from gpt"),
        ({0: -2.5}, NOISE, "-2.50 %, worse than gpt"),
        ({0: 6.0, 1: 4.0}, NOISE, "up to 1M: +5.00 %, better than gpt; +3.00 %"),
        ({0: 6.0}, [2.0], "which may be luck, against gpt"),
        ({0: 6.0}, [2.0], "not measured"),
    ],
)
def test_says_no_more_than_the_noise_allows(
    gains: dict[int, float], values: list[float], said: str
) -> None:
    verdict = judge(state(gains, values), SCALES, SEEDS)
    assert said in verdict.text
    assert verdict.best_child == 2


@pytest.mark.parametrize(("finalists", "errors"), [(1, 2.0), (2, 2.241), (5, 2.576)])
def test_a_single_fresh_seed_allows_for_all_finalists(finalists: int, errors: float) -> None:
    found = half_width([4.0], 1.0, comparisons=finalists)
    assert found == pytest.approx(errors, abs=1e-3)


def test_no_child_no_claim() -> None:
    verdict = judge(state(None, NOISE), SCALES, SEEDS)
    assert verdict.best_child is None
    assert verdict.best == 0
    assert "nothing can be said" in verdict.text


@pytest.mark.parametrize(
    ("gains", "values", "said"),
    [
        ({2: [3.0, 3.1, 2.9]}, NOISE, "+3.00 % (+1.59 to +4.41), better than gpt"),
        ({2: [3.0, 3.1, 2.9]}, [2.0], "+3.00 % (+2.75 to +3.25), better than gpt"),
        ({2: [0.5, 6.0, 2.5]}, NOISE, "no difference shown from gpt"),
        ({2: [-3.0, -3.1, -2.9]}, NOISE, "worse than gpt"),
        ({2: [4.0]}, [2.0], "which may be luck, against gpt"),
        ({2: [1.0, 1.0], 3: [2.0, 2.0]}, [2.0], "design 3, trained again at 1M with 2 fresh seeds"),
    ],
)
def test_after_finals_the_fresh_seeds_alone_speak(
    gains: dict[int, list[float]], values: list[float], said: str
) -> None:
    made = state({0: 9.0, 1: 9.0}, values)
    made.standings[3] = Standing(3, False, 1.0, 1.0, {0: 5.0})
    made.finals.designs = (0, *gains)
    made.finals.gains = {
        design: {FRESH + i: gain for i, gain in enumerate(some)} for design, some in gains.items()
    }
    verdict = judge(made, SCALES, SEEDS)
    assert said in verdict.text
    told = verdict.to_json()["finalists"]
    assert [f["design"] for f in told] == sorted(gains, reverse=True)
    assert verdict.fitness == told[0]["mean"] != 9.0


def test_a_finalist_whose_trainings_failed_is_left_out() -> None:
    made = state({0: 9.0}, NOISE)
    made.finals.designs = (0, 2)
    assert "better than gpt" in judge(made, SCALES, SEEDS).text
    assert "finalists" not in judge(made, SCALES, SEEDS).to_json()


def test_the_interval_is_students_and_grows_with_the_finalists() -> None:
    one, many = (half_width([1.0, 2.0, 3.0], None, comparisons=n) for n in (1, 5))
    assert one == pytest.approx(4.302652729 / 3**0.5)
    assert many == pytest.approx(9.924843201 / 3**0.5)
    assert half_width([1.0], None, comparisons=1) is None
    assert half_width([1.0], 0.5, comparisons=1) == pytest.approx(2 * 0.5)
