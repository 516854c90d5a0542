"""The verdict: what may be called better, and what may not."""

from __future__ import annotations

import pytest

from genesys_engine.engine.ladder import Ladder
from genesys_engine.engine.state import Standing, State
from genesys_engine.engine.verdict import judge

SCALES = ("0.2M", "1M")
SEEDS = ("gpt", "mamba2")


def state(child: dict[int, float] | None, values: list[float]) -> State:
    made = State(Ladder([10, 3], "gradual"))
    made.reference = 0
    made.reference_values[0] = values
    made.standings[0] = Standing(0, True, 1.0, 1.0, {0: 0.0, 1: 0.0})
    made.standings[1] = Standing(1, True, 1.0, 1.0, {0: 3.0})
    if child is not None:
        made.standings[2] = Standing(2, False, 1.0, 1.0, child)
    return made


NOISE = [2.0, 2.02, 1.98]  # sigma 1 %


@pytest.mark.parametrize(
    ("gains", "values", "said"),
    [
        ({0: 6.0}, NOISE, "better than gpt; +3.00 %, better than the best other seed, mamba2"),
        ({0: 4.0}, NOISE, "better than gpt; +1.00 %, no difference shown from the best other"),
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


def test_no_child_no_claim() -> None:
    verdict = judge(state(None, NOISE), SCALES, SEEDS)
    assert verdict.best_child is None
    assert verdict.best == 0
    assert "nothing can be said" in verdict.text
