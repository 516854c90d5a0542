"""The shares of parts: what equals the base is compared once, and lost machines are named."""

from __future__ import annotations

import pytest

from genesys_engine.engine.jobs.task_result import RETRIES, InfrastructureFailure, patiently
from genesys_engine.engine.score.explanation import Trained, explained
from genesys_engine.engine.score.fitness import Point, Reading
from genesys_engine.gab.errors import EnvironmentProblem


def trained(change: str, *bits: float, same_as: int | None = None) -> Trained:
    readings = tuple(Reading((Point(value, up=False),)) for value in bits)
    return Trained("root.mlp" if same_as else "", change, readings, same_as=same_as)


def test_a_part_without_which_the_base_is_left_adds_nothing_to_what_is_known() -> None:
    design, base = trained("#1", 2.00, 2.02), trained("gpt", 2.05, 2.06)
    about = {"design": 1, "base": "gpt", "scale": "0.2M", "pair": None}
    alone = explained([design, base], **about)
    again = trained("an MLP", 2.05, 2.06, same_as=1)
    (part,) = explained([design, base, again], **about).parts
    assert part.path == "root.mlp"
    assert part.gain == alone.whole.gain
    assert explained([design, base, again], **about).whole == alone.whole


def test_a_lost_machine_is_tried_again_and_then_named() -> None:
    asked: list[int] = []

    def lost(number: int, after: int) -> str:
        asked.append(number)
        if number < after:
            raise InfrastructureFailure("the worker was killed")
        return "done"

    assert patiently(lambda number: lost(number, RETRIES), "a training", "again") == "done"
    assert asked == list(range(RETRIES + 1))
    with pytest.raises(EnvironmentProblem, match="a training could not be run: the worker was"):
        patiently(lambda number: lost(number, RETRIES + 1), "a training", "again")
