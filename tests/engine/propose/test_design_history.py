"""What a run knows of a design, as far as the task of the one who asks may see it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sample_run import make_run
from stored import design_report

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.propose.design_history import DesignHistories, Sight
from genesys_engine.engine.run.assembly import assemble
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.score import noise_floor, standing
from genesys_engine.engine.store.event_types import DesignAbandoned
from genesys_engine.engine.store.run_store import DATABASE, Store
from genesys_engine.plugins.api import History
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing.recorded import RecordedExecutor

ALL = Sight(10**6, 10**6, 10**6)
GIVEN_UP = {"operator": "llm_mutation", "parents": (1,), "details": {}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which designs were given up: two for want of an idea, one while it was built."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "sample", finish=False)
    with Store.open(folder, write=True) as store, store.transaction():
        codes = ("proposal.rejected", "causality.leak", "llm.refused")
        for seq, code in enumerate(codes, 500):
            told = {**GIVEN_UP, "seq": seq, "code": code, "reason": f"An idea, ended by {code}."}
            store.add_event(DesignAbandoned(**told))
    return folder


@pytest.fixture
def store(run: Path) -> Iterator[Store]:
    with Store.open(run) as store:
        yield store


def test_results_are_reported_by_rung_next_to_the_reference(store: Store) -> None:
    histories, floor = DesignHistories(store), noise_floor.noise_floor(store)
    several = 0
    for row in store.leaderboard():
        results = histories.of(row.id, 3, ALL).results
        assert [r.scale for r in results] == ["0.2M", "1M", "4M"][: len(results)]
        several += len(results) > 1
        first = next(v for v in store.verifications(row.id) if v.rung == 0)
        assert results[0].gain == first.fitness
        own, reference = results[0].scores["bits_per_byte"]
        assert own == first.scores["bits_per_byte"].value
        assert next(iter(results[0].scores)) == "bits_per_byte", "the metric of the fitness"
        if row.id == 0:
            assert (results[0].within_noise, reference) == (True, None)
        else:
            known = [v.scores["bits_per_byte"].value for v in _at_rung(store, 0, 0)]
            assert reference == pytest.approx(sum(known) / 3)
            word = standing.standing(first.fitness or 0.0, floor.sigmas[0])
            assert results[0].within_noise is (word == standing.NO_DIFFERENCE)
    assert several > 3


def _at_rung(store: Store, design: int, rung: int) -> list[Any]:
    return [v for v in store.verifications(design) if v.rung == rung]


def test_a_failed_verification_is_reported_with_its_reason(store: Store) -> None:
    failed = next(v for v in store.verifications() if v.status == "failed")
    (result,) = DesignHistories(store).of(failed.design, 0, ALL).results
    assert (result.gain, result.within_noise, result.scores) == (None, None, {})
    assert result.reason == failed.reason.partition("\n")[0]


def test_children_come_newest_first_with_what_came_of_them(store: Store) -> None:
    histories, outcomes = DesignHistories(store), set()
    for parent in range(5):
        made = [row for row in store.designs() if parent in row.parents]
        children = [c for c in histories.of(parent, 100, ALL).children if c.design is not None]
        assert [c.design for c in children] == [row.id for row in reversed(made)]
        assert [c.change for c in children] == [row.change for row in reversed(made)]
        outcomes |= {c.outcome for c in children}
        assert all("\n" not in c.summary for c in children)
        told = " ".join(c.summary for c in children if c.outcome == "rejected")
        assert not told or "causality.leak" in told
        assert histories.of(parent, 2, ALL).children == histories.of(parent, 9, ALL).children[:2]
    assert outcomes >= {"rejected", "verified"}


def test_what_was_given_up_is_reported_once_there_was_an_idea(store: Store) -> None:
    newest = DesignHistories(store).of(1, 1, ALL).children[0]
    assert (newest.outcome, newest.design) == ("abandoned", None)
    assert newest.change == "An idea, ended by causality.leak."
    assert newest.summary == "given up: causality.leak"
    told = [c.change for c in DesignHistories(store).of(1, 100, ALL).children]
    assert not any("proposal.rejected" in change or "llm.refused" in change for change in told)


def test_of_one_task_what_came_last_comes_first(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    shutil.copytree(run, folder)
    with Store.open(folder, write=True) as store, store.transaction():
        made = [row.id for row in store.designs() if row.parents][-3:]
        for design in made:
            told = (json.dumps([1]), design)
            store._db.execute("UPDATE designs SET seq = 501, parents = ? WHERE id = ?", told)
    with Store.open(folder) as store:
        children = DesignHistories(store).of(1, 3, ALL).children
    assert [child.design for child in children] == [None, made[2], made[1]]


def test_what_differs_from_time_to_time_is_not_reported(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "logged"
    shutil.copytree(run, folder)
    with Store.open(folder, write=True) as store, store.transaction():
        store._db.execute("UPDATE verifications SET reason = reason || char(10) || 'at 0x7f'")
    with Store.open(folder) as store:
        histories = DesignHistories(store)
        known = [histories.of(row.id, 100, ALL) for row in store.designs()]
    told = [child.summary for each in known for child in each.children]
    assert any("failed" in each for each in told)
    assert not any("0x7f" in each for each in told)


def test_warnings_of_the_check_are_reported(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "warned"
    shutil.copytree(run, folder)
    warning = {"code": "cost.slow", "severity": "warning", "message": "It is slow."}
    with Store.open(folder, write=True) as store, store.transaction():
        store.set_report(1, design_report(findings=[{**warning, "advice": "Fuse."}]))
    with Store.open(folder) as store:
        assert DesignHistories(store).of(1, 0, ALL).findings == ("cost.slow: It is slow. Fuse.",)


def test_a_tree_that_is_no_design_of_the_run_has_no_history(store: Store) -> None:
    assert DesignHistories(store).of(-1, 5, ALL) == History()
    assert DesignHistories(store).of(9, 5, Sight(9, 10**6, 10**6)) == History()


def test_what_is_reported_does_not_depend_on_what_else_the_run_has(
    run: Path, tmp_path: Path
) -> None:
    """A design that is made again after a crash is shown what it was shown."""
    sight = Sight(designs=12, verifications=9, tasks=501)
    with Store.open(run) as store:
        histories = DesignHistories(store)
        expected = [histories.of(design, 8, sight) for design in range(12)]
        assert expected != [histories.of(design, 8, ALL) for design in range(12)]
    earlier = tmp_path / "earlier"
    shutil.copytree(run, earlier)
    with Store.open(earlier, write=True) as store, store.transaction():
        store._db.execute("DELETE FROM designs WHERE id >= 12")
        store._db.execute("DELETE FROM verifications WHERE id >= 9")
        store._db.execute("DELETE FROM events WHERE kind = 'design.abandoned'")
    with Store.open(earlier) as store:
        histories = DesignHistories(store)
        assert [histories.of(design, 8, sight) for design in range(12)] == expected


# --- in a run ------------------------------------------------------------------------------------

TELLING = Path(__file__).with_name("telling.py")
EXPERIMENT = """
[run]
seed = 5
lookahead = 5
designers = 3
[population]
seeds = ["gpt", "retnet"]
crossover_after = 4
[[ladder.rungs]]
scale = "0.2M"
verifications = 20
noise_seeds = 2
[[ladder.rungs]]
scale = "1M"
verifications = 5
[[operators]]
{operator}
[budget]
designs = {designs}
[plugins]
local = ["{plugin}"]
"""


@dataclass
class Trial:
    """One way to carry out the same experiment."""

    folder: Path
    workers: int = 2
    delay_s: float = 0.0
    operator: str = 'use = "telling"'
    designs: int = 12

    def go(self, should_stop: Callable[[], str | None] = lambda: None) -> None:
        """Start the run, or take it up if the folder has one."""
        file = self.folder.with_suffix(".toml")
        about = {"operator": self.operator, "designs": self.designs}
        file.write_text(EXPERIMENT.format(plugin=TELLING, **about))
        host = PluginHost(local=[str(TELLING)])
        experiment = load_experiment(file, (), host.registry)
        context = RunContext(host, experiment, PreparedCorpus(".", 1024))
        if (self.folder / DATABASE).exists():
            store = Store.open(self.folder, write=True)
        else:
            store = Store.create(self.folder, {"experiment": experiment.to_json()})
            store.curves.allocate(25)
            with store.transaction():
                store.add_event(run_started(context))
        executor = RecordedExecutor(workers=self.workers, delay_s=self.delay_s, reject=0.2)
        with store:
            parts = (store, context, executor, [])
            evolution = assemble(*parts, lambda event: None, should_stop)
            try:
                evolution.run()
            finally:
                evolution.designer.close()
                executor.close()

    def told(self) -> list[dict[str, Any]]:
        """Return what the operator said it was told, in the order of the log."""
        with Store.open(self.folder) as store:
            payloads = [event.payload for event in store.events() if event.decisive]
        return [each for p in payloads for each in (p.get("details") or {}).get("told", ())]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = Trial(tmp_path_factory.mktemp("told") / "run")
    trial.go()
    return trial


def test_an_operator_sees_the_history_of_its_parents(finished: Trial) -> None:
    told = finished.told()
    assert any(len(each["results"]) == 2 for each in told)
    children = [child for each in told for child in each["children"]]
    assert {"verified", "abandoned"} <= {child["outcome"] for child in children}
    assert any("too bold" in child["change"] for child in children)


def test_what_is_reported_does_not_depend_on_workers(finished: Trial, tmp_path: Path) -> None:
    for workers, delay in ((1, 0.0), (6, 0.03)):
        trial = Trial(tmp_path / f"w{workers}", workers, delay)
        trial.go()
        assert trial.told() == finished.told()


def go_on_and_off(trial: Trial, looks: int) -> int:
    """Carry a run out in sessions that end after so many looks at the clock; return how many."""
    for session in range(1, 200):
        left = iter(range(looks))
        try:
            trial.go(lambda left=left: None if next(left, None) is not None else "interrupted")
        except Stopped:
            continue
        return session
    raise AssertionError("it comes to no end")


def test_an_interrupted_run_is_reported_the_same(finished: Trial, tmp_path: Path) -> None:
    trial = Trial(tmp_path / "stopped", delay_s=0.02)
    assert go_on_and_off(trial, 20) > 3
    assert trial.told() == finished.told()


MUTATION = """
use = "llm_mutation"
proposal_tries = 3
tries = 2
rounds = 1
[llm]
use = "grammar"
approval = 0.9
[llm.faults]
cut = 0.5
"""


def test_language_models_are_asked_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is faster, and after interruptions: every request is in the ledger then."""
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    asked = []
    for name, workers, delay, looks in (("a", 1, 0.0, 10**6), ("b", 5, 0.03, 40)):
        trial = Trial(tmp_path / name, workers, delay, MUTATION, designs=6)
        assert (go_on_and_off(trial, looks) > 1) is (name == "b")
        with sqlite3.connect(trial.folder / DATABASE) as db:
            asked.append(sorted(db.execute("SELECT task, request_digest, request FROM llm_calls")))
    assert asked[0] == asked[1]
    words = " ".join(row[2] for row in asked[0])
    for part in ("Results, by rung", "within the noise", "Tried on this design", "given up: "):
        assert part in words
