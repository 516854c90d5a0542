"""What was tried near an idea, and what came of it; known near-duplicates are found."""

import json
import shutil
from pathlib import Path

import pytest
from sample_run import make_run

from genesys_engine.engine.memory import FOLDER, RunMemory
from genesys_engine.engine.store import Store

ROOT = Path(__file__).resolve().parents[2]
KNOWN = json.loads((ROOT / "experiments" / "bench" / "near_duplicates.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


@pytest.fixture
def store(run):
    with Store.open(run) as store:
        yield store


@pytest.fixture(scope="module")
def proposals(tmp_path_factory):
    """A memory that holds the first of each known pair."""
    folder = make_run(tmp_path_factory.mktemp("proposals") / "run")
    with Store.open(folder) as store:
        memory = RunMemory(store)
        for number, (text, _) in enumerate(KNOWN["same"]):
            memory.propose(str(number), text)
        yield memory


@pytest.mark.parametrize("number", range(len(KNOWN["same"])))
def test_a_reworded_proposal_is_found_and_no_other(proposals, number):
    found = proposals.duplicates(KNOWN["same"][number][1])
    assert [attempt.id for attempt in found] == [f"proposal:{number}"]
    assert found[0].outcome == "proposed"


@pytest.mark.parametrize(("first", "second"), KNOWN["other_numbers"])
def test_equal_words_with_other_numbers_are_another_experiment(tmp_path, first, second):
    with Store.open(make_run(tmp_path / "run", finish=False)) as store:
        memory = RunMemory(store)
        memory.propose("a", first)
        assert [attempt.id for attempt in memory.duplicates(first)] == ["proposal:a"]
        assert memory.duplicates(second) == []
        nearest = memory.near(second, 1)[0]
        assert nearest.id == "proposal:a"
        assert not nearest.same_numbers


def test_every_design_is_indexed_once_and_later_ones_are_added(store):
    memory = RunMemory(store)
    first = memory.refresh()
    assert memory.refresh() == 0
    assert first in (0, store.count("designs"))
    assert memory._base.stats().documents == store.count("designs")
    assert RunMemory(store).refresh() == 0


def test_a_design_is_found_by_its_own_sentence_with_its_outcome(store):
    memory = RunMemory(store)
    outcomes = set()
    for row in store.designs():
        same = memory.duplicates(row.change, parents=row.parents)
        attempt = next(a for a in same if a.design == row.id)
        assert attempt.similarity == pytest.approx(1.0, abs=1e-5)
        outcomes.add(attempt.outcome)
        if attempt.outcome == "rejected":
            assert any("causality.leak" in finding for finding in attempt.findings)
            assert "Mask the future" in attempt.told
        if attempt.outcome == "failed":
            assert row.fitness is None
            assert "failed at 0.2M" in attempt.told
        if attempt.outcome == "verified":
            assert attempt.fitness == pytest.approx(row.fitness)
            assert "gain" in attempt.told
    assert outcomes == {"rejected", "failed", "verified"}


def test_what_a_decision_may_not_see_is_not_shown(store):
    memory = RunMemory(store)
    last = max(row.id for row in store.designs())
    everything = memory.near("Replaced a norm by another", 50)
    assert max(a.design for a in everything) > 10
    limited = memory.near("Replaced a norm by another", 50, before=10)
    assert limited
    assert max(a.design for a in limited) < 10 <= last
    early = memory.near("Seed design mamba2.", 1, before_verification=0)[0]
    assert early.outcome == "untested"
    assert memory.near("Seed design mamba2.", 1)[0].outcome == "verified"


def test_other_parents_make_another_experiment(store):
    memory = RunMemory(store)
    row = next(row for row in store.designs() if row.parents)
    assert memory.duplicates(row.change, parents=row.parents)
    assert not any(a.design is not None for a in memory.duplicates(row.change, parents=(999,)))


def test_the_index_can_be_deleted_and_is_made_again(run, store):
    before = [str(attempt) for attempt in RunMemory(store).near("norm of the mixer", 8)]
    shutil.rmtree(run / FOLDER)
    assert [str(attempt) for attempt in RunMemory(store).near("norm of the mixer", 8)] == before
