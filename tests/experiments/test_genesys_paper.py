"""What the paper says, next to a study: the plugin of the experiments that adds it."""

import math

import pytest

from experiments.catalogue.draw import make_proposals
from experiments.plugins.genesys_paper import (
    direct_calls,
    gains,
    genesys_study_tables,
    lemmas,
    unitwise_calls,
)
from genesys_engine.engine.common import records
from genesys_engine.engine.compare.implementation_summary import summarise
from genesys_engine.engine.compare.results import Implemented, Result
from genesys_engine.engine.config.schema import CompareArm, CompareSection
from genesys_engine.plugins.api import LLMUsage

ARMS = CompareSection(
    arms=(
        CompareArm(name="mine", implementer="gp"),
        CompareArm(name="whole", implementer="direct"),
        CompareArm(name="again", implementer="sequential"),
    )
)


def study(proposals, results, *, simulation=False):
    """Return what the hook gets."""
    shown = summarise(ARMS, proposals, results, simulation=simulation).to_json()
    units = {each.name: each.stratum for each in proposals}
    return {**shown, "units": units, "results": [records.to_json(each) for each in results]}


def made(passed, of, *, calls):
    outcomes = ["passed"] * passed + ["load.error"] * (of - passed)
    trace = tuple({"role": "coder", "outcome": each} for each in outcomes)
    trace += ({"role": "observer", "outcome": "passed"},)
    return Implemented(True, "", of, {"coder": LLMUsage(calls, 1, 1)}, trace=trace)


def test_the_lemmas_stand_next_to_what_was_measured():
    proposals = make_proposals(1, 1, (1, 3))
    results = [
        Result(each.name, arm, made(calls, 2 * calls, calls=calls), 1.0)
        for each in proposals
        for arm, calls in (("mine", each.stratum), ("whole", 1))
    ]
    table = lemmas(study(proposals, results))
    # One of two of the coder's replies passes: p = 1/2.
    assert table["rows"] == [["1", "1.0", "2.0", "1.0", "2.0"], ["3", "3.0", "6.0", "1.0", "8.0"]]
    assert "p = 50 %" in table["title"]


def test_the_rate_of_the_lemmas_is_one_of_proposals_and_not_of_replies():
    proposals = make_proposals(1, 2)
    results = [
        Result(each.name, "mine", made(1 + 8 * (i % 2), 10, calls=10), 1.0)
        for i, each in enumerate(proposals)
    ]
    title = lemmas(study(proposals, results))["title"]
    low, high = map(int, title.partition("(")[2].partition(" %")[0].split(" to "))
    assert low < 20, "80 replies that were independent would have 39 to 61 %"
    assert high > 80
    assert "p = 50 %" in title
    assert "of 80 unit replies that passed" in title


def test_published_rows_stand_next_to_a_simulation_alone():
    proposals = make_proposals(1, 1, (1,))
    results = [Result(each.name, "mine", made(1, 1, calls=1), 1.0) for each in proposals]
    (table,) = genesys_study_tables(study(proposals, results))
    assert "lemmas" in table["title"]
    _, published = genesys_study_tables(study(proposals, results, simulation=True))
    assert [row[0] for row in published["rows"]] == ["mine", "whole"]  # none of `sequential`
    assert published["rows"][0][3:] == ["92 %", "1.0", "2.6"]


def test_a_study_without_results_has_no_rate():
    rows = lemmas(study(make_proposals(1, 1), []))["rows"]
    assert {cell for row in rows for cell in row[1:]} == {"–"}


def test_the_lemmas_meet_at_one_unit_and_part_from_there():
    assert direct_calls(0.67, 1) == pytest.approx(unitwise_calls(0.67, 1))
    # The paper's numbers: 0.67 per unit and 7 units give direct prompting 6 % of the blocks.
    assert 1 / direct_calls(0.67, 7) == pytest.approx(0.06, abs=0.001)
    assert unitwise_calls(0.67, 7) == pytest.approx(10.4, abs=0.1)
    assert direct_calls(0.0, 3) == unitwise_calls(0.0, 3) == math.inf


def test_the_measures_of_a_series():
    found = gains([1.0, 3.0, 2.0, 4.0])
    assert (found.end, found.peak, found.drawdown) == (3.0, 3.0, -1.0)
    assert found.volatility == pytest.approx(math.sqrt(3))  # of +2, -1, +2
    assert found.sharpe == pytest.approx(1 / math.sqrt(3))


def test_what_cannot_be_known_is_none():
    assert gains([]) is gains([2.0]) is None, "without a step there is no gain"
    assert gains([2.0, 3.0]).volatility is None
    flat = gains([1.0, 2.0, 3.0])  # every step alike
    assert (flat.volatility, flat.sharpe, flat.drawdown) == (0.0, None, 0.0)
    assert gains([0.1 * i for i in range(9)]).sharpe is None, "alike but for rounding"


def test_the_deepest_fall_counts_from_the_highest_peak_before_it():
    assert gains([5.0, 1.0, 6.0, 4.0]).drawdown == -4.0


def test_an_evolution_study_gets_the_measures_of_its_generations():
    arms = [
        {"arm": "a", "n": 2, "runs": [{"generations": [0.0, 2.0, 1.0]}, {"generations": [0.0]}]},
        {"arm": "b", "n": 0, "runs": []},
    ]
    (table,) = genesys_study_tables({"study": "evolution", "arms": arms})
    assert table["rows"] == [
        ["a", "1.00 (n = 1)", "2.00 (n = 1)", "2.12 (n = 1)", "0.24 (n = 1)", "−1.00 (n = 1)"],
        ["b", *["–"] * 5],
    ]
