"""An evolution study of whole runs, small, without a language model."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import commands
import pytest
from engine_process import here
from study_support import passing

from genesys_engine.engine.compare.evolution_summary import area_under, summarise_runs
from genesys_engine.engine.compare.page import render_page
from genesys_engine.engine.compare.results import FinishedRun, Implemented, Result, Used
from genesys_engine.engine.compare.series import series_of
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.compare.summary import tables
from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.config.schema import CompareArm, CompareSection, PopulationSection
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.gab.errors import InputError

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
  "torch", "torch._dynamo", "safetensors.torch",
  "genesys_engine.plugins.check_job", "genesys_engine.plugins.evaluate_job",
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
    return FinishedRun(
        costs=tuple(costs), best_so_far=tuple(best), generations=tuple(mean), spent=costs[-1],
        best=best[-1], mean=mean[-1], made=made, valid=valid, used=Used(0, 0.0, 90.0, 60.0),
        device=("cpu",),
    )  # fmt: skip


def section(seeds=(1, 2, 3)):
    arms = (CompareArm(name="a"), CompareArm(name="b"))
    return CompareSection(study="evolution", arms=arms, seeds=seeds)


def results(differences):
    found = []
    for number, difference in enumerate(differences, 1):
        low = run([0, 10, 20], [0.0, 0.0, 1.0], [0.0, 0.5])
        high = run([0, 10, 20], [0.0, 0.0, 1.0 + difference], [0.0, 0.5 + difference])
        found += [
            Result(f"seed-{number}", "a", high, 1.0), Result(f"seed-{number}", "b", low, 1.0)
        ]  # fmt: skip
    return found


def test_arms_are_compared_seed_by_seed():
    data = summarise_runs(section(), results([0.9, 1.0, 1.1]))
    assert data.complete
    assert data.arms[0].means["best"] == pytest.approx(2.0)
    best = next(each for each in data.comparisons if each.measure == "best")
    assert best.difference == pytest.approx(1.0)
    assert best.sentence.startswith("a is better than b in best fitness: +1.00 points")


def test_a_run_that_found_nothing_counts_as_the_reference():
    nothing = replace(run([0], [0.0], [0.0], valid=0), spent=10, mean=None)
    lucky = run([0, 10, 20], [0.0, 6.0, 6.0], [0.0, 5.5])
    steady = run([0, 10, 20], [0.0, 1.0, 1.0], [0.0, 0.5])
    arms = {"a": (lucky, nothing, nothing), "b": (steady, steady, steady)}
    data = summarise_runs(
        section(),
        [
            Result(f"seed-{seed}", name, made, 1.0)
            for name, runs in arms.items()
            for seed, made in enumerate(runs, 1)
        ],
    )
    arm = data.arms[0]
    assert arm.means["best"] == pytest.approx((6 + 0 + 0) / 3)
    best = arm.intervals["best"]
    assert best.low < 0 < best.high
    # What ended at a cost of 10 does not shorten the others, which went on to 20.
    assert (data.until_tokens, [each.area for each in arm.runs]) == (20, [3.0, 0.0, 0.0])
    best = next(each for each in data.comparisons if each.measure == "best")
    assert (best.n, "a is within noise of b in best" in best.sentence) == (3, True)
    table = tables(data)[0]
    shown = dict(zip(table.columns[:6], table.rows[0], strict=False))
    assert (shown["runs"], shown["best %"], shown["mean %"]) == ("3", "2.00", "5.50 (n = 1)")
    assert "leads until a design is better" in table.title


def test_children_that_are_valid_have_an_interval_over_runs():
    valid = [(1, 10), (9, 10), (5, 10)]
    found = [
        Result(f"seed-{seed}", "a", run([0, 20], [0.0, 1.0], [0.0], valid=good, made=made), 1.0)
        for seed, (good, made) in enumerate(valid, 1)
    ]
    arm = summarise_runs(section(), found).arms[0]
    assert arm.valid_rate == pytest.approx(0.5)
    # Taken as 30 independent children they would have 33 to 67 %.
    assert arm.valid_interval.to_json() == [0.0, 1.0]


def test_the_area_is_the_mean_height_of_a_staircase_from_cost_0():
    assert area_under([0, 10, 20], [0.0, 1.0, 3.0], 40) == pytest.approx((10 * 1 + 20 * 3) / 40)
    assert area_under([10, 20], [1.0, 3.0], 40) == pytest.approx((10 * 1 + 20 * 3) / 40)
    assert area_under([10, 20], [1.0, 3.0], 15) == pytest.approx(5 / 15)
    assert area_under([10, 10], [1.0, 3.0], 20) == pytest.approx(1.5)
    assert area_under([10], [1.0], 10) == area_under([], [], 10) == 0
    assert area_under([0], [0.0], 0) is None


def test_a_late_start_costs_area():
    assert area_under([10], [2.0], 40) == pytest.approx(1.5)
    assert area_under([30], [2.0], 40) == pytest.approx(0.5)


def store_of(folder, gains, seeds=()):
    """Make a store with verifications (design, rung, gain), 10 tokens each; design 0 is a seed."""
    store = Store.create(folder, {})
    with store.transaction():
        for seed in (0, *seeds):
            row = DesignRow(seed, seed, True, f"{seed}", None, (), "seed:x", "")
            store.add_design(row, {"units": {}}, passing(f"{seed}"))
        for number, (design, rung, gain) in enumerate(gains):
            more = ("ok", "", gain, {}, {}, 10, {})
            store.add_verification(VerificationRow(number, number, design, rung, 0, *more), [])
    return store


def series(folder, gains, seeds=(), size=3, offspring=2):
    with store_of(folder, gains, seeds) as store:
        return series_of(store, PopulationSection(size=size, offspring=offspring))


def test_the_best_so_far_is_a_design_that_stands(tmp_path):
    rows = [(0, 0, 0.0), (1, 0, 5.0), (2, 0, 3.0), (1, 1, -1.0)]  # the leader climbs and falls
    found = series(tmp_path / "run", rows)
    assert (found.costs, found.best_so_far) == ((0, 20, 30, 40), (0.0, 5.0, 5.0, 3.0))
    assert (found.best, found.mean) == (3.0, 2.5)


def test_the_reference_stands_until_a_better_design_is_found(tmp_path):
    found = series(tmp_path / "none", [(0, 0, 0.0)])
    assert (found.costs, found.best_so_far, found.spent) == ((0,), (0.0,), 10)
    assert (found.best, found.mean, found.generations) == (0.0, None, (0.0,))
    worse = series(tmp_path / "worse", [(0, 0, 0.0), (1, 0, -2.0)])
    assert (worse.best, worse.mean) == (0.0, -2.0)


def test_a_step_is_a_generation_of_children_and_not_a_verification(tmp_path):
    rows = [(0, 0, 0.0), (1, 0, 2.0), (2, 0, 4.0), (3, 0, 6.0), (2, 1, 6.0), (4, 0, 8.0),
            (5, 0, 1.0), (6, 0, 9.0)]  # fmt: skip
    found = series(tmp_path / "run", rows, seeds=(1,))
    # Of the seeds; then of the three verified last, after two children and after four.
    assert found.generations == pytest.approx([1.0, (2 + 5 + 6) / 3, (6 + 8 + 1) / 3])


def test_children_of_a_generation_that_is_not_full_are_in_no_step(tmp_path):
    rows = [(0, 0, 0.0), *((child, 0, float(child)) for child in range(1, 6))]
    steps = series(tmp_path / "run", rows, size=50).generations
    assert steps == pytest.approx([0.0, (0 + 1 + 2) / 3, (0 + 1 + 2 + 3 + 4) / 5])


def test_luck_is_no_difference():
    data = summarise_runs(section(), results([1.0, -1.2, 0.3]))
    best = next(each for each in data.comparisons if each.measure == "best")
    assert best.sentence.startswith("a is within noise of b in best fitness")


def test_one_seed_is_too_few_and_missing_runs_make_it_partial():
    data = summarise_runs(section(), results([1.0]))
    assert not data.complete
    assert all("noise not measured (1 pair)" in each.sentence for each in data.comparisons)
    assert tables(data)[0].title.startswith("PARTIAL")
    table = tables(data)[1]
    assert "per run" in table.title
    used = dict(zip(table.columns, table.rows[0], strict=True))
    assert (used["device"], used["device time"], used["wall time"]) == (
        "processor", "1 min 30 s", "1 min 0 s",
    )  # fmt: skip
    assert "Partial:" in render_page(data)


def test_a_result_of_another_form_is_an_error_with_its_name(tmp_path):
    given = tmp_path / "given.toml"
    given.write_text("[run]\n")
    with StudyStore.create(tmp_path / "study", {}, given.read_bytes()) as store:
        store.add_result(results([1.0])[0])
        assert store.results(FinishedRun) == results([1.0])[:1]
        with pytest.raises(InputError, match="result of seed-1, a does not fit"):
            store.results(Implemented)


def test_the_committed_experiment_is_valid():
    experiment = load_experiment(COMMITTED)
    assert [arm.name for arm in experiment.compare.arms] == ["classical", "random_typed"]
    assert experiment.compare.study == "evolution"


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_arm_does_whole_runs_and_is_not_done_again(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    study = tmp_path / "study"

    def ask():
        command = [*ENGINE, "compare", str(path), "--out", str(study), "--json"]
        done = commands.run(command)
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


def test_an_arm_that_sets_what_cannot_be_is_reported_at_once(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.replace("selection.use=random", "selection.use=randon"))
    here("compare", path, "--out", tmp_path / "study").refused(2, "did you mean 'random'?")
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
    answer = here("compare", path, "--out", tmp_path / "study")
    answer.refused(2, where, "classical and random_typed")
    assert not (tmp_path / "study" / "runs").exists()
