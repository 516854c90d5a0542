"""What the children of an operator gained over their parents, and when that counts."""

import json
import math
import random
import statistics

import pytest
from sample_run import make_run

from genesys_engine.engine.cli import main
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views import operators as view
from genesys_engine.engine.views.operators import half_width, operators


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


def test_counts_and_gains_are_those_of_the_tables(run):
    with Store.open(run) as store:
        rows = {row.operator: row for row in operators(store)}
        designs = {row.id: row for row in store.designs()}
        first = {
            v.design: v.fitness
            for v in store.verifications()
            if (v.rung, v.replicate) == (0, 0) and v.fitness is not None
        }
        duplicates = [e.payload for e in store.events() if e.kind == "design.duplicate"]
        lowest = noise_floor(store).noise[0]
    assert set(rows) == {"unit_replacement", "typed_crossover"}
    for name, row in rows.items():
        mine = [d for d in designs.values() if d.operator == name]
        assert row.accepted == sum(d.accepted for d in mine)
        assert row.rejected == sum(not d.accepted for d in mine)
        assert row.duplicates == sum(d["operator"] == name for d in duplicates)
        assert row.proposed == row.accepted + row.rejected + row.duplicates
        gained = [
            first[d.id] - max(first[p] for p in d.parents if p in first)
            for d in mine
            if d.id in first
        ]
        assert row.compared == len(gained) > 0
        assert row.gain == pytest.approx(statistics.fmean(gained))
        better = [
            max((p for p in d.parents if p in first), key=lambda parent: first[parent])
            for d in mine
            if d.id in first
        ]
        # Parents add the noise of one training, not that of a gain over the reference.
        half = half_width(gained, better, lowest.one, (0, lowest.trainings))
        assert (row.low, row.high) == pytest.approx((row.gain - half, row.gain + half))


@pytest.mark.parametrize("trainings", [0, 2])
def test_the_interval_holds_the_truth_as_often_as_it_says(trainings):
    """Children of one parent share its noise; the mean over them is wider than their spread.

    Three parents, or the reference alone, trained twice.
    """
    rng, inside, tried = random.Random(3), 0, 600
    for _ in range(tried):
        if trainings:
            noises, which = {0: rng.gauss(0, 1 / math.sqrt(trainings))}, [0] * 9
        else:
            noises, which = {p: rng.gauss(0, 1) for p in (10, 11, 12)}, [10, 11, 12] * 3
        gains = [0.5 + rng.gauss(0, 1) - noises[parent] for parent in which]
        half = half_width(gains, which, 1.0, (0, trainings))
        inside += abs(statistics.fmean(gains) - 0.5) <= half
    assert inside / tried >= 0.93


def test_one_child_counts_beyond_two_sigma_only():
    assert half_width([3.0], [5], None, (0, 4)) is None
    assert half_width([3.0], [5], 1.0, (0, 4)) == pytest.approx(2 * math.sqrt(2))
    assert half_width([3.0], [0], 1.0, (0, 4)) == pytest.approx(2 * math.sqrt(1.25))
    assert half_width([3.0], [None], 1.0, (0, 4)) == pytest.approx(2 * math.sqrt(1.25))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 2.0, view.BETTER),
        (-2.0, -0.1, view.WORSE),
        (-0.1, 2.0, view.NO_DIFFERENCE),
        (None, None, view.TOO_FEW),
    ],
)
def test_the_verdict_follows_the_interval(low, high, verdict):
    assert view._verdict(low, high) == verdict


def test_the_command_line_tells_it(run, capsys):
    assert main(["leaderboard", str(run), "--operators", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["data"]
    assert {"operator", "accepted", "compared", "gain", "low", "high", "verdict"} <= set(rows[0])
    assert main(["leaderboard", str(run), "--operators"]) == 0
    answer = capsys.readouterr()
    assert "unit_replacement" in answer.out
    assert rows[0]["verdict"].split()[0] in answer.out
    assert "at 0.2M" in answer.err
