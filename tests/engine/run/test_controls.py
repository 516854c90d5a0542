"""What the evaluators gave for the bigram control is held against what the experiment relies on."""

from __future__ import annotations

from typing import Any

import pytest

from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.run.controls import _scores
from genesys_engine.engine.score.fitness import Measure
from genesys_engine.gab.errors import InputError

SCORE = {"value": 3.9, "stderr": 0.1, "higher_is_better": False, "n": 8}
GIVEN: dict[str, Any] = {"bigram": {"bits_per_byte": SCORE, "few:acc": SCORE, "g/a:f1": SCORE}}


@pytest.mark.parametrize("metric", ["bits_per_byte", "few:acc", "accuracy", "g/a:f1"])
def test_what_was_given_is_kept(metric: str) -> None:
    assert _scores(GIVEN, Measure((metric,)))["few:acc"] == Score(**SCORE)


@pytest.mark.parametrize("metric", ["few:f1", "g:f1", "other:acc"])
def test_what_was_not_given_is_named_with_what_was(metric: str) -> None:
    for measure in (Measure((metric,)), Measure(("bits_per_byte",), objectives=(metric,))):
        with pytest.raises(InputError, match="no evaluator reported") as error:
            _scores(GIVEN, measure)
        assert repr(metric) in error.value.message
        assert "bits_per_byte, few:acc, g/a:f1" in error.value.message


def test_a_score_that_is_no_number_for_a_table_of_tokens_may_be_one_for_a_model() -> None:
    assert _scores({**GIVEN, "not_finite": ["few:f1"]}, Measure(("few:f1",)))


@pytest.mark.parametrize(
    "reply",
    [
        {"bigram": {"x": {"value": "high", "higher_is_better": True, "n": 1}}},
        {"bigram": {"x": {**SCORE, "value": None}}},
        {"bigram": {"x": {**SCORE, "n": -1}}},
        {"bigram": [1, 2]},
        {"bigram": {}, "more": 1},
    ],
)
def test_what_is_no_score_is_refused(reply: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="malformed") as error:
        _scores(reply, Measure(("x",)))
    assert error.value.where == "[[evaluators]]"


def test_a_refusal_is_the_error_of_the_run() -> None:
    told = {"message": "the task few has no documents", "where": "few.yaml", "hint": "give it some"}
    with pytest.raises(InputError) as error:
        _scores({"refused": told}, Measure(("x",)))
    assert vars(error.value) == told
