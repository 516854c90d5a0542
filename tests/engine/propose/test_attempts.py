"""What was tried near an idea, and what came of it; known near-duplicates are found."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sample_run import make_run
from stored import design_report

from genesys_engine.engine.cli import main
from genesys_engine.engine.propose.attempts import RunMemory
from genesys_engine.engine.store.run_store import DesignRow, Store
from genesys_engine.gab import library

ROOT = Path(__file__).resolve().parents[3]
KNOWN = json.loads((ROOT / "experiments" / "bench" / "near_duplicates.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


@pytest.fixture
def store(run):
    with Store.open(run) as store:
        yield store


def memory_of(folder, texts):
    """Return the memory of a run whose newest designs say `texts`, and the first one's number."""
    with Store.open(make_run(folder, finish=False), write=True) as store:
        first = store.count("designs")
        with store.transaction():
            for number, text in enumerate(texts, first):
                row = DesignRow(
                    number, 900 + number, True, f"d{number}", None, (), "insertion", text
                )
                store.add_design(row, library.seed("gpt").to_json(), design_report())
    return RunMemory(Store.open(folder)), first


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A memory that holds the first of each known pair."""
    return memory_of(
        tmp_path_factory.mktemp("described") / "run", [one for one, _ in KNOWN["same"]]
    )


@pytest.mark.parametrize("number", range(len(KNOWN["same"])))
def test_a_reworded_proposal_is_found_and_no_other(described, number):
    memory, first = described
    found = memory.duplicates(KNOWN["same"][number][1])
    assert [attempt.design for attempt in found] == [first + number]
    assert found[0].outcome == "untested"


@pytest.mark.parametrize(("first", "second"), KNOWN["other_numbers"])
def test_equal_words_with_other_numbers_are_another_experiment(tmp_path, first, second):
    memory, design = memory_of(tmp_path / "run", [first])
    assert [attempt.design for attempt in memory.duplicates(first)] == [design]
    assert memory.duplicates(second) == []
    nearest = memory.near(second, 1)[0]
    assert nearest.design == design
    assert not nearest.same_numbers


def test_every_design_is_indexed_once_and_later_ones_are_added(tmp_path):
    with Store.open(make_run(tmp_path / "run", finish=False), write=True) as store:
        memory = RunMemory(store)
        count = store.count("designs")
        assert (memory.refresh(), memory.refresh(), len(memory)) == (count, 0, count)
        late = DesignRow(count, 999, True, "late", None, (0,), "insertion", "Inserted a hedgehog.")
        with store.transaction():
            store.add_design(late, library.seed("gpt").to_json(), design_report())
        assert memory.near("a hedgehog is inserted", 1)[0].design == count
        assert len(memory) == count + 1


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
            assert "Mask the future" in attempt.summary
        if attempt.outcome == "failed":
            assert row.fitness is None
            assert "failed at 0.2M" in attempt.summary
        if attempt.outcome == "verified":
            assert attempt.fitness == pytest.approx(row.fitness)
            assert "gain" in attempt.summary
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


def told(memory, idea, **limits):
    return [str(attempt) for attempt in memory.near(idea, 8, **limits)]


def test_what_is_found_does_not_depend_on_what_else_the_run_has(run, tmp_path):
    """A decision that is made again after a crash sees what it saw."""
    ideas = ["norm of the mixer", "Replace LayerNorm by RMSNorm", "a gate before the mixer"]
    with Store.open(run) as store:
        whole = RunMemory(store)
        expected = [told(whole, idea, before=9, before_verification=4) for idea in ideas]
    earlier = tmp_path / "earlier"
    shutil.copytree(run, earlier)
    with Store.open(earlier, write=True) as store, store.transaction():
        store._db.execute("DELETE FROM designs WHERE id >= 9")
        store._db.execute("DELETE FROM verifications WHERE id >= 4")
    with Store.open(earlier) as store:
        memory = RunMemory(store)
        again = [told(memory, idea, before=9, before_verification=4) for idea in ideas]
    assert again == expected


def test_threads_may_ask_at_once(run):
    with Store.open(run, shared=True) as store:
        memory = RunMemory(store)
        ideas = ["norm of the mixer", "Replace LayerNorm by RMSNorm", "Seed design mamba2."] * 8
        with ThreadPoolExecutor(6) as threads:
            at_once = list(threads.map(lambda idea: told(memory, idea), ideas))
        assert at_once == [told(memory, idea) for idea in ideas]


def test_the_command_shows_the_number_that_it_sorts_by(run, capsys):
    assert main(["knowledge", "tried", str(run), "replace the norm by layer norm"]) == 0
    told = capsys.readouterr()
    numbers = [float(line[:4]) for line in told.out.splitlines() if line[0] != " "]
    assert len(numbers) == 5
    assert numbers == sorted(numbers, reverse=True)
    assert all(0 < number <= 1 for number in numbers)
    assert "1 is identical" in told.err
    assert max(map(len, told.out.splitlines())) <= 80
