"""An evolution study of whole runs, small, without a language model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genesys_engine.engine.compare.evolution_summary import summarise_runs
from genesys_engine.engine.compare.page import render_page
from genesys_engine.engine.compare.series import series_of
from genesys_engine.engine.compare.store import Result
from genesys_engine.engine.compare.tables import tables
from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.config.schema import CompareArm, CompareSection
from genesys_engine.engine.store import Store, VerificationRow

ENGINE = [sys.executable, "-m", "genesys_engine"]
COMMITTED = Path(__file__).parents[3] / "experiments" / "classical_vs_random.toml"
STUDY = """
[run]
name = "tiny"
[population]
seeds = ["gpt"]
[corpus]
vocab_size = 300
max_bytes = 200_000
[budget]
designs = 2
[[ladder.rungs]]
scale = "0.2M"
verifications = 3
tokens = 2048
[[evaluators]]
use = "heldout"
windows = 8
[executor]
preload = [
  "torch", "genesys_engine.plugins.check_job", "genesys_engine.plugins.verify_job",
]
[compare]
study = "evolution"
seeds = [1, 2]
[[compare.arms]]
name = "classical"
[[compare.arms]]
name = "random_typed"
sets = ["selection.use=random"]
"""


def run(costs, best, mean, *, made=4, valid=3):
    return {
        "costs": costs, "best_so_far": best, "population": mean, "spent": costs[-1],
        "best": best[-1], "mean": mean[-1], "made": made, "valid": valid,
        "used": {"llm_tokens": 0, "llm_usd": 0.0, "device_s": 90.0, "wall_s": 60.0},
        "device": ["cpu"], "cap": "",
        "gains": {"end": mean[-1] - mean[0], "peak": 1.0, "volatility": None, "sharpe": None,
                  "drawdown": 0.0},
    }  # fmt: skip


def section(seeds=(1, 2, 3)):
    arms = (CompareArm(name="a"), CompareArm(name="b"))
    return CompareSection(study="evolution", arms=arms, seeds=seeds)


def results(differences):
    found = []
    for number, difference in enumerate(differences, 1):
        low = run([10, 20], [0.0, 1.0], [0.0, 0.5])
        high = run([10, 20], [0.0, 1.0 + difference], [0.0, 0.5 + difference])
        found += [
            Result(f"seed-{number}", "a", high, 1.0), Result(f"seed-{number}", "b", low, 1.0)
        ]  # fmt: skip
    return found


def test_arms_are_compared_seed_by_seed():
    data = summarise_runs(section(), results([0.9, 1.0, 1.1]))
    assert data["complete"]
    assert data["arms"][0]["means"]["best"] == pytest.approx(2.0)
    best = next(each for each in data["comparisons"] if each["measure"] == "best")
    assert best["difference"] == pytest.approx(1.0)
    assert best["sentence"].startswith("a is better than b by 1.00 points in best fitness")


def test_the_best_so_far_is_a_design_that_stands(tmp_path):
    told = ("ok", "")
    with Store.create(tmp_path / "run", {}) as store:
        assert (series_of(store)["best"], series_of(store)["mean"]) == (None, None)
        rows = [(1, 0, 5.0), (2, 0, 3.0), (1, 1, -1.0)]  # design, rung, gain: the leader falls
        for number, (design, rung, gain) in enumerate(rows):
            more = (*told, gain, {}, {}, 10, {})
            with store.transaction():
                store.add_verification(VerificationRow(number, number, design, rung, 0, *more), [])
        found = series_of(store)
    assert found["best_so_far"] == [5.0, 5.0, 3.0]
    assert (found["best"], found["mean"]) == (3.0, 2.5)


def test_luck_is_no_difference():
    data = summarise_runs(section(), results([1.0, -1.2, 0.3]))
    best = next(each for each in data["comparisons"] if each["measure"] == "best")
    assert best["sentence"].startswith("No difference shown between a and b in best fitness")


def test_one_seed_is_too_few_and_missing_runs_make_it_partial():
    data = summarise_runs(section(), results([1.0]))
    assert not data["complete"]
    assert all("too few to compare" in each["sentence"] for each in data["comparisons"])
    assert tables(data)[0][0].startswith("PARTIAL")
    title, columns, rows = tables(data)[1]
    assert title == "What a run used, means over seeds"
    used = dict(zip(columns, rows[0], strict=True))
    assert (used["device"], used["device time"], used["wall time"]) == (
        "processor", "1 min 30 s", "1 min 0 s",
    )  # fmt: skip
    assert "Partial:" in render_page({"name": "x", **data})


def test_the_committed_experiment_is_valid():
    experiment = load_experiment(COMMITTED)
    assert [arm.name for arm in experiment.compare.arms] == ["classical", "random_typed"]
    assert experiment.compare.study == "evolution"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_arm_does_whole_runs_and_is_not_done_again(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    study = tmp_path / "study"

    def ask():
        command = [*ENGINE, "compare", str(path), "--out", str(study), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    data = ask()
    assert data["complete"]
    assert [(arm["arm"], arm["n"]) for arm in data["arms"]] == [
        ("classical", 2),
        ("random_typed", 2),
    ]
    for arm in data["arms"]:
        for each in arm["runs"]:
            assert each["best"] == each["best_so_far"][-1]
            assert each["costs"] == sorted(each["costs"])
    folders = sorted(entry.name for entry in (study / "runs").iterdir())
    assert folders == [
        "classical-seed-1", "classical-seed-2", "random_typed-seed-1", "random_typed-seed-2",
    ]  # fmt: skip
    with Store.open(study / "runs" / "random_typed-seed-2") as store:
        experiment = store.meta("experiment")
    assert experiment["selection"]["use"] == "random"
    assert experiment["run"]["seed"] == 2
    assert ask() == data


def test_an_arm_that_sets_what_cannot_be_is_told_at_once(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.replace("selection.use=random", "selection.use=randon"))
    command = [*ENGINE, "compare", str(path), "--out", str(tmp_path / "study")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "did you mean 'random'?" in done.stderr
    assert not (tmp_path / "study" / "runs").exists()


@pytest.mark.parametrize(
    ("sets", "where"),
    [
        (["fitness.relative_to=untrained"], "[fitness]"),
        (["ladder.rungs.0.tokens=4096"], "[[ladder.rungs]]"),
        (['population.seeds=["ttt"]', "population.reference=ttt"], "[population] reference"),
        (["evaluators.0.windows=9"], "[[evaluators]]"),
    ],
)
def test_arms_whose_fitness_is_another_quantity_are_refused(tmp_path, sets, where):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.replace('["selection.use=random"]', str(sets)))
    command = [*ENGINE, "compare", str(path), "--out", str(tmp_path / "study")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert where in done.stderr
    assert "the arms classical and random_typed differ" in done.stderr
    assert not (tmp_path / "study" / "runs").exists()
