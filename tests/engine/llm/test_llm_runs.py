"""Runs whose designers ask language models: real loop, store, gateway; training is recorded."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, answers, fails

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.llm.gateway import LLMOutage
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.llm.recording import lines_of, record
from genesys_engine.engine.loop.evolution import Evolution, Stopped
from genesys_engine.engine.propose.designer import Designer
from genesys_engine.engine.run.assembly import assemble
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.run_store import DATABASE, Store
from genesys_engine.engine.views.failures import failures
from genesys_engine.engine.views.llm import llm_view
from genesys_engine.engine.views.run import view
from genesys_engine.engine.views.status import status
from genesys_engine.plugins.api import LLMRefused
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing.recorded import RecordedExecutor

ASKING = Path(__file__).with_name("asking.py")
EXPERIMENT = """
[run]
seed = 3
lookahead = 4
designers = {designers}
[population]
seeds = ["gpt", "retnet"]
[[ladder.rungs]]
scale = "0.2M"
verifications = 20
[[operators]]
use = "{use}"
{operator}
[llm]
{llm}
[budget]
designs = {designs}
{budget}
[plugins]
local = ["{asking}"]
"""
SCRIPTED = """
use = "scripted"
replies = ["the first", "a second", "and a third", "no fourth"]
"""


@dataclass
class Trial:
    """One way to carry out the same experiment."""

    folder: Path
    llm: str = SCRIPTED
    designers: int = 2
    workers: int = 2
    delay_s: float = 0.0
    budget: str = ""
    use: str = "asking"
    operator: str = ""
    designs: int = 8
    evolution: Evolution | None = None
    told: list[str] = field(default_factory=list)

    def go(self, should_stop: Callable[[], str | None] = lambda: None) -> None:
        """Start the run, or take it up if the folder has one."""
        file = self.folder.with_suffix(".toml")
        keys = ("llm", "designers", "budget", "use", "operator", "designs")
        values = {key: getattr(self, key) for key in keys}
        file.write_text(EXPERIMENT.format(asking=ASKING, **values))
        host = PluginHost(local=[str(ASKING)])
        experiment = load_experiment(file, (), host.registry)
        context = RunContext(host, experiment, PreparedCorpus(".", 1024))
        fresh = not (self.folder / DATABASE).exists()
        if fresh:
            store = Store.create(self.folder, {"experiment": experiment.to_json()})
            store.curves.allocate(20)
            with store.transaction():
                store.add_event(run_started(context))
        else:
            store = Store.open(self.folder, write=True)
        executor = RecordedExecutor(workers=self.workers, delay_s=self.delay_s, reject=0.1)
        with store:
            self.evolution = assemble(
                store,
                context,
                executor,
                [],
                lambda event: self.told.append(event.kind),
                should_stop,
            )
            try:
                self.evolution.run()
            finally:
                self.evolution.designer.close()
                executor.close()

    def digest(self) -> str:
        with Store.open(self.folder) as store:
            return digest_events(store.events())

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / DATABASE) as db:
            return db.execute(sql).fetchall()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = Trial(tmp_path_factory.mktemp("llm") / "run")
    trial.go()
    return trial


def test_every_role_is_asked_and_recorded(finished: Trial) -> None:
    rows = finished.ask("SELECT role, COUNT(*), COUNT(DISTINCT task) FROM llm_calls GROUP BY role")
    assert {row[0] for row in rows} == {"proposer", "reviewer", "planner", "coder", "observer"}
    assert len({row[1:] for row in rows}) == 1


def test_a_design_that_is_given_up_is_reported_and_is_no_design(finished: Trial) -> None:
    with Store.open(finished.folder) as store:
        given_up = [e for e in store.events() if e.kind == "design.abandoned"]
        assert given_up
        payload = given_up[0].payload
        assert (payload["operator"], payload["code"]) == ("asking", "asking.gave_up")
        assert (payload["reason"], payload["details"]) == ("nothing came of it", {"n": 5})
        told = {f.cause: f.count for f in failures(store)}
        assert told["asking.gave_up"] == len(given_up)
        found = llm_view(store)
        assert found.abandoned == {"asking.gave_up": len(given_up)}
        run = view(store)
        assert run.abandoned == len(given_up)
        assert run.accepted == 10
        assert status(store).designs.abandoned == len(given_up)


def test_usage_is_the_same_by_the_ledger_and_by_the_events(finished: Trial) -> None:
    with Store.open(finished.folder) as store:
        by_events = view(store).llm
        by_ledger = llm_view(store).roles
        assert by_events == by_ledger
        assert all(used.usd == 0.0 and used.tokens > 0 for used in by_ledger.values())
        assert status(store).llm.total.calls == sum(u.calls for u in by_ledger.values())


def test_what_an_operator_tells_of_its_child_is_kept(finished: Trial) -> None:
    with Store.open(finished.folder) as store:
        made = [e.payload for e in store.events() if e.kind == "design.accepted"]
    assert all(p["details"]["passed"] for p in made if p["operator"] == "asking")


def test_the_log_does_not_depend_on_workers_or_designers(finished: Trial, tmp_path: Path) -> None:
    for designers, workers, delay in ((1, 1, 0.0), (5, 7, 0.02)):
        trial = Trial(tmp_path / f"d{designers}", designers=designers, workers=workers)
        trial.delay_s = delay
        trial.go()
        assert trial.digest() == finished.digest()


def test_what_is_looked_up_does_not_depend_on_workers_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    digests, words = set(), set()
    for designers, delay in ((1, 0.0), (3, 0.03)):
        trial = Trial(tmp_path / f"l{designers}", operator="look_up = true", designers=designers)
        trial.designs = 3
        trial.delay_s = delay
        trial.go()
        digests.add(trial.digest())
        words.add(tuple(sorted(trial.ask("SELECT request_digest FROM llm_calls"))))
    assert len(digests) == len(words) == 1
    asked = " ".join(row[0] for row in trial.ask("SELECT request FROM llm_calls"))
    assert "RMSNorm" in asked or "normalization" in asked.lower()  # a reference card
    assert "design 0 (" in asked  # what the run has tried


def test_a_recording_replays_the_run(finished: Trial, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl.xz"
    ledger = Ledger(finished.folder / DATABASE, write=False)
    calls = record(file, lines_of(ledger))
    ledger.close()
    assert calls == finished.ask("SELECT COUNT(*) FROM llm_calls")[0][0]
    replayed = Trial(tmp_path / "replayed", llm=f'use = "replay"\npath = "{file}"')
    replayed.go()
    kept = [tuple(row) for row in finished.ask(DECISIONS)]
    assert [tuple(row) for row in replayed.ask(DECISIONS)] == kept
    again = Trial(tmp_path / "again", llm=f'use = "replay"\npath = "{file}"', workers=5)
    again.go()
    assert again.digest() == replayed.digest()
    other = Trial(tmp_path / "other", llm=f'use = "replay"\npath = "{file}"')
    other.operator = "max_tokens = 25"
    with pytest.raises(LLMRefused, match="max_tokens is 25, recorded is 24"):
        other.go()


DECISIONS = """
SELECT kind, payload FROM events WHERE decisive = 1 AND kind != 'run.started' ORDER BY id
"""


def test_a_cap_ends_the_run_and_more_of_it_continues(finished: Trial, tmp_path: Path) -> None:
    total = finished.ask("SELECT SUM(input_tokens + output_tokens) FROM llm_calls")[0][0]
    trial = Trial(tmp_path / "capped", budget=f"llm_tokens = {int(total * 0.6)}")
    with pytest.raises(Stopped, match=r"budget\.llm_tokens"):
        trial.go()
    (spent,) = trial.ask("SELECT SUM(input_tokens + output_tokens) FROM llm_calls")[0]
    assert total * 0.3 < spent <= total * 0.6
    assert "budget.warning" in trial.told
    trial.budget = f"llm_tokens = {int(total * 2)}"
    trial.go()
    assert trial.digest() == finished.digest()
    keys = trial.ask("SELECT COUNT(*), COUNT(DISTINCT key) FROM llm_calls")[0]
    assert keys[0] == keys[1], "something was paid for twice"


def test_an_interrupted_run_resumes_where_it_was(finished: Trial, tmp_path: Path) -> None:
    trial = Trial(tmp_path / "stopped")
    while True:
        count = [0]

        def stop(count: list[int] = count) -> str | None:
            count[0] += 1
            return "interrupted" if count[0] > 25 else None

        try:
            trial.go(stop)
        except Stopped:
            continue
        break
    assert trial.digest() == finished.digest()


# --- services that are out ---------------------------------------------------------------------


def http(server: ChatServer, **more: Any) -> str:
    section = {"backoff_s": 0.02, "longest_pause_s": 0.05, **more}
    pauses = "\n".join(f"{key} = {value}" for key, value in section.items())
    return f'use = "litellm"\nmodel = "openai/tiny"\napi_base = "{server.url}"\n{pauses}'


def test_an_outage_is_no_failed_design_and_verifiers_continue(tmp_path: Path) -> None:
    script: list[Answer] = [fails(503)] * 12 + [answers]
    with ChatServer(*script) as server:
        trial = Trial(tmp_path / "out", llm=http(server), operator="give_up = 1000", designs=3)
        trial.go()
    kinds = Counter(trial.told)
    assert kinds["llm.unreachable"] == kinds["llm.reachable"] == 1
    assert kinds["design.abandoned"] == 0
    out = trial.told.index("llm.unreachable")
    assert "verification.finished" in trial.told[: trial.told.index("llm.reachable")], out
    with Store.open(trial.folder) as store:
        assert view(store).llm_out == ""


def test_an_outage_without_end_stops_the_run_resumably(finished: Trial, tmp_path: Path) -> None:
    with ChatServer(fails(500)) as server:
        trial = Trial(tmp_path / "gone", llm=http(server, give_up_after_s=0.5), designs=3)
        with pytest.raises(LLMOutage) as caught:
            trial.go()
    assert caught.value.exit_code == 4
    assert trial.told[-1] == "run.stopped"
    (results,) = trial.ask("SELECT COUNT(*) FROM tasks WHERE kind = 'verify' AND result IS NULL")
    assert results == (0,), "verifications under way were waited for"
    with ChatServer(answers) as server:
        trial.llm = http(server)
        trial.go()
    with Store.open(trial.folder) as store:
        assert view(store).accepted > 2


def test_a_rejected_key_stops_the_run(tmp_path: Path) -> None:
    with ChatServer(fails(401, "who are you")) as server:
        trial = Trial(tmp_path / "refused", llm=http(server))
        with pytest.raises(LLMRefused, match="who are you"):
            trial.go()
        assert len(server.asked) <= 2  # one per designer
    assert trial.told[-1] == "run.stopped"


def test_stopping_does_not_wait_for_a_service(tmp_path: Path) -> None:
    hang = threading.Event()
    with ChatServer(lambda handler: hang.wait(30)) as server:
        trial = Trial(tmp_path / "hanging", llm=http(server))
        since: list[float] = []

        def stop() -> str | None:
            if server.asked and not since:
                time.sleep(0.3)
                since.append(time.monotonic())
            return "interrupted" if since else None

        with pytest.raises(Stopped, match="interrupted"):
            trial.go(stop)
        assert time.monotonic() - since[0] < 15.0
        hang.set()


def test_designers_do_not_keep_the_process(finished: Trial) -> None:
    assert finished.evolution is not None
    designer: Designer = finished.evolution.designer
    assert all(thread.daemon for thread in designer._threads._threads)
