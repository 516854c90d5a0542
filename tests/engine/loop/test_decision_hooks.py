"""Plugins that decide: results they know, places for trials, errors, the end of a run.

Each is a distribution on the path, as `importlib.metadata` finds it; the loop, the store and the
operators are real, and only training is answered from a record.
"""

from __future__ import annotations

import importlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.evaluate.noise_cache import NoiseCache
from genesys_engine.engine.loop.evolution import Evolution, Stopped
from genesys_engine.engine.run.assembly import assemble
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.run_store import DATABASE, Store, TaskRow
from genesys_engine.gab.errors import InputError, PluginError
from genesys_engine.plugins import event_kinds as kinds
from genesys_engine.plugins.api import Outcome
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing.recorded import RecordedExecutor

EXPERIMENT = """
[run]
lookahead = 5
[population]
seeds = ["gpt", "retnet"]
[[ladder.rungs]]
scale = "0.2M"
verifications = 12
noise_seeds = 2
[[ladder.rungs]]
scale = "1M"
verifications = 3
[budget]
designs = 9
{more}
"""
HEAD = """
from genesys_engine.plugins import api
asked = []
"""
Install = Callable[..., Any]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution and return its module."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def lay(source: str, name: str = "decider") -> Any:
        module = f"{name}_{tmp_path.name}"
        info = tmp_path / "site" / f"genesys_engine_{name}-1.5.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: genesys-engine-{name}\nVersion: 1.5\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[genesys_engine]\nmain = {module}\n")
        (tmp_path / "site" / f"{module}.py").write_text(HEAD + source)
        importlib.invalidate_caches()  # an earlier run may have looked where nothing lay yet
        return importlib.import_module(module)

    return lay


class Loop:
    """The loop of one small experiment, with the plugins that are installed."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        self.more = more
        self.noise: NoiseCache | None = None
        self.sets: tuple[str, ...] = ()
        self.stop: Callable[[], str | None] = lambda: None
        self.executor: RecordedExecutor = RecordedExecutor(workers=2)

    def go(self, executor: RecordedExecutor | None = None) -> None:
        self.executor = executor or RecordedExecutor(workers=2)
        file = self.folder.with_suffix(".toml")
        file.write_text(EXPERIMENT.format(more=self.more))
        host = PluginHost()
        experiment = load_experiment(file, self.sets, host.registry)
        context = RunContext(host, experiment, PreparedCorpus(".", 1024))
        fresh = not self.folder.exists()
        meta = {"experiment": experiment.to_json()}
        store = Store.create(self.folder, meta) if fresh else Store.open(self.folder, write=True)
        with store:
            if fresh:
                store.curves.allocate(15)
                with store.transaction():
                    store.add_event(run_started(context))
            parts = (store, context, self.executor, [])
            loop = assemble(*parts, lambda e: None, self.stop, self.noise)
            try:
                loop.run()
            finally:
                loop.designer.close()
                loop.verifier.close()
                self.executor.close()

    def digest(self) -> str:
        with Store.open(self.folder) as store:
            return digest_events(store.events())

    def events(self, kind: str) -> list[dict[str, Any]]:
        with Store.open(self.folder) as store:
            return [dict(event.payload) for event in store.events() if event.kind == kind]

    def verifications(self) -> list[Any]:
        with Store.open(self.folder) as store:
            return list(store.verifications())


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path / "run")


# --- evaluate a candidate ----------------------------------------------------------------------

KNOWS = """
@api.hookimpl
def genesys_evaluate_candidate(candidate):
    asked.append(dict(candidate))
    if candidate["rung"] > 0 or candidate["replicate"] > 0:
        return None
    score = {"value": 2.0, "stderr": None, "higher_is_better": False, "n": 7}
    return {"status": "ok", "scores": {"bits_per_byte": score}, "tokens": 5}
"""


def test_a_result_that_a_plugin_knows_is_not_computed_again(install: Install, loop: Loop) -> None:
    plugin = install(KNOWS)
    loop.go()
    rows = loop.verifications()
    known = [row for row in rows if row.facts.get("supplied_by")]
    assert {(row.rung, row.replicate) for row in known} == {(0, 0)}
    assert {row.facts["supplied_by"] for row in known} == {"genesys-engine-decider 1.5"}
    assert all(row.scores["bits_per_byte"].value == 2.0 and row.tokens == 5 for row in known)
    assert loop.executor.calls["train"] == len(rows) - len(known) > 0
    assert len(plugin.asked) == len(rows)
    first = plugin.asked[0]
    assert {"design", "digest", "rung", "scale", "replicate", "source", "model", "seed"} <= set(
        first
    )
    assert first["scale"] == "0.2M"
    assert "class Block" in first["source"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"status": "ok", "checkpoint": "x"}', "weights cannot be supplied"),
        ('{"status": "perhaps"}', "status: Input should be"),
        ('"very good"', "invalid return value"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_wrong_result_names_the_plugin_its_hook_and_line(
    install: Install, loop: Loop, answer: str, told: str
) -> None:
    source = f"\n@api.hookimpl\ndef genesys_evaluate_candidate(candidate):\n    return {answer}\n"
    module = install(source)
    with pytest.raises(PluginError, match=told) as raised:
        loop.go()
    place = rf"genesys-engine-decider 1\.5.*genesys_evaluate_candidate \({module.__file__}:[67]\)"
    assert re.search(place, str(raised.value))


KNOWS_THE_NOISE = KNOWS.replace("> 0 or", "> 0 or not").replace("2.0", "3.0")


def test_what_a_plugin_supplies_is_no_training_to_other_runs(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = install(KNOWS_THE_NOISE)
    cache = NoiseCache(tmp_path / "noise", "digest", {})
    runs = {name: Loop(tmp_path / name) for name in ("before", "without", "after")}
    for name, run in runs.items():
        run.noise = cache
        disabled = "genesys-engine-decider" if name == "without" else ""
        monkeypatch.setenv("GENESYS_DISABLE_PLUGINS", disabled)
        run.go()
        kept = sorted((tmp_path / "noise").rglob("*.json"))
        assert len(kept) == (0 if name == "before" else 1), "one further seed of the reference"
        (noise,) = [row for row in run.verifications() if row.replicate == 1]
        assert (noise.scores["bits_per_byte"].value == 3.0) == (name != "without")
    assert runs["after"].digest() == runs["before"].digest() != runs["without"].digest()
    assert len(plugin.asked) == 2 * 15


# --- place a trial -----------------------------------------------------------------------------

PLACES = """
@api.hookimpl
def genesys_register_executors(register):
    register("second", "genesys_engine.plugins.testing.recorded:RecordedExecutor", summary="two")

@api.hookimpl
def genesys_place_trial(trial):
    asked.append(dict(trial))
    if trial["rung"] > 0:
        return {"executor": "second"}
    return {"priority": trial["design"], "timeout_s": 7, "memory_gib": 0.5}
"""


class Noting(RecordedExecutor):
    """Notes the limits of what it is given; answers slowly, so that trials wait."""

    def __init__(self) -> None:
        super().__init__(workers=1, delay_s=0.02)
        self.limits: list[Any] = []

    def submit(self, target: str, payload: Any, scratch: Path, limits: Any) -> Any:
        if target.endswith("train"):
            self.limits.append(limits)
        return super().submit(target, payload, scratch, limits)


def test_where_trials_run_changes_nothing_that_is_decided(
    install: Install, loop: Loop, tmp_path: Path
) -> None:
    alone = Loop(tmp_path / "alone")
    alone.go()
    plugin = install(PLACES)
    executor = Noting()
    loop.go(executor)
    assert loop.digest() == alone.digest()
    upper = [trial for trial in plugin.asked if trial["rung"] > 0]
    assert len(upper) == 3
    assert executor.calls["train"] == len(plugin.asked) - len(upper)
    assert {(limit.wall_s, limit.memory_bytes) for limit in executor.limits} == {(7.0, 2**29)}
    assert {trial["executor"] for trial in plugin.asked} == {"process"}


def test_the_trial_of_a_higher_priority_goes_first(tmp_path: Path) -> None:
    from concurrent.futures import Future

    from genesys_engine.engine.train.placement import _Queue, _Waiting
    from genesys_engine.plugins.api import Limits

    class OneByOne:
        workers = 1

        def __init__(self) -> None:
            self.given: list[tuple[str, Future[Outcome]]] = []

        def submit(self, target: str, *_: Any) -> Future[Outcome]:
            self.given.append((target, Future()))
            return self.given[-1][1]

        def close(self) -> None: ...

    executor = OneByOne()
    queue = _Queue(executor)
    names = {"first": 0.0, "low": -1.0, "high": 5.0, "taken back": 9.0, "same": 0.0}
    trials = {
        name: queue.submit(_Waiting(name, {}, tmp_path, Limits()), priority, number)
        for number, (name, priority) in enumerate(names.items())
    }
    assert trials["taken back"].cancel()
    for number in range(4):
        assert len(executor.given) == number + 1
        executor.given[-1][1].set_result(Outcome("ok", {}))
    assert [name for name, _ in executor.given] == ["first", "high", "same", "low"]
    assert all(trial.done() for trial in trials.values())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"executor": "secnd"}', "unknown executor 'secnd'"),
        ('{"timeout_s": -1}', "timeout_s: Input should be greater than 0"),
        ('{"where": "here"}', "where: Extra inputs"),
        ('{"executor": "process", "options": {"no": 1}}', "Extra inputs"),
    ],
)
def test_a_place_that_does_not_exist_names_the_plugin(
    install: Install, loop: Loop, answer: str, told: str
) -> None:
    install(f"\n@api.hookimpl\ndef genesys_place_trial(trial):\n    return {answer}\n")
    with pytest.raises(PluginError, match=told) as raised:
        loop.go()
    assert "genesys-engine-decider 1.5" in str(raised.value)


# --- on error ----------------------------------------------------------------------------------


def answering(expression: str) -> str:
    return f"""
@api.hookimpl
def genesys_on_error(error):
    asked.append(dict(error))
    return {expression}
"""


class Flaky(RecordedExecutor):
    """Fails `bad` verifications in the given way, after the two of the reference."""

    def __init__(self, status: Any, bad: int) -> None:
        super().__init__(workers=1, fail=0.0, reject=0.0)
        self._status, self._bad = status, range(3, 3 + bad)

    def _answer(self, job: str, payload: Any) -> Outcome:
        answer = super()._answer(job, payload)
        if job == "train" and self.calls[job] in self._bad:
            return Outcome(self._status, None, "bad luck")
        return answer


def test_a_failed_verification_is_tried_again_where_a_plugin_says_so(
    install: Install, loop: Loop, tmp_path: Path
) -> None:
    plain = Loop(tmp_path / "plain")
    plain.go(Flaky("timeout", 0))
    plugin = install(answering('"retry" if error["cause"] == "timeout" else None'))
    loop.go(Flaky("timeout", 2))
    assert loop.digest() == plain.digest()
    assert [error["attempt"] for error in plugin.asked] == [1, 2]
    assert {(e["stage"], e["reason"], e["rung"]) for e in plugin.asked} == {
        ("verification", "bad luck", 0)
    }
    told = loop.events(kinds.ERROR_HANDLED)
    assert [(one["action"], one["by"]) for one in told] == [
        ("retry", "genesys-engine-decider 1.5")
    ] * 2


class Timed(Flaky):
    """Every verification keeps its device for ten seconds."""

    def _answer(self, job: str, payload: Any) -> Outcome:
        answer = super()._answer(job, payload)
        return replace(answer, facts={"wall_s": 10.0}) if job == "train" else answer


@pytest.mark.parametrize("answer", ["'retry'", "'stop'", "'fail'", "None"])
@pytest.mark.parametrize("status", ["timeout", "infrastructure"])
def test_a_trial_counts_for_the_cap_on_hours_whatever_is_decided_about_it(
    install: Install, loop: Loop, status: str, answer: str
) -> None:
    install(answering(answer))
    calls, executor = 0, Timed(status, 2)
    for _ in range(4):
        try:
            loop.go(executor)
        except Stopped:
            calls, executor = calls + executor.calls["train"], Timed(status, 0)
        else:
            break
    calls += executor.calls["train"]
    repeated = {"'retry'": 2, "'stop'": 1, "'fail'": 0, "None": 2 * (status == "infrastructure")}
    assert calls == 15 + repeated[answer]
    with Store.open(loop.folder) as store:
        assert store.meta("device_s") == pytest.approx(10.0 * calls)


class Slow(Flaky):
    """Notes which trials it was given; from the third on every one times out, after 40 seconds."""

    def __init__(self) -> None:
        super().__init__("timeout", 100)
        self.trials: list[tuple[str, int]] = []

    def submit(self, target: str, payload: Any, scratch: Path, limits: Any) -> Any:
        if target.endswith("train"):
            self.trials.append((payload["source"], payload["seed"]))
        return super().submit(target, payload, scratch, limits)

    def _answer(self, job: str, payload: Any) -> Outcome:
        answer = super()._answer(job, payload)
        return answer if answer.status == "ok" else replace(answer, facts={"wall_s": 40.0})


def test_a_trial_that_uses_up_the_hours_is_not_tried_again(install: Install, loop: Loop) -> None:
    install(answering('"retry"'))
    loop.sets = ("budget.device_hours=0.01",)  # 36 seconds: the third uses them up alone
    executor = Slow()
    with pytest.raises(Stopped, match="device_hours"):
        loop.go(executor)
    assert len(executor.trials) >= 3, "others may have been under way by then"
    assert len(set(executor.trials)) == len(executor.trials)


def test_a_plugin_cannot_have_a_trial_repeated_for_ever(install: Install, loop: Loop) -> None:
    plugin = install(answering('"retry"'))
    loop.go(Flaky("crashed", 4))
    failed = [row for row in loop.verifications() if row.status == "failed"]
    assert len(failed) == 1
    assert [error["attempt"] for error in plugin.asked] == [1, 2, 3, 4]


def test_an_error_may_end_the_run_which_goes_on_later(install: Install, loop: Loop) -> None:
    plugin = install(answering('"stop" if len(asked) < 2 else None'))
    with pytest.raises(Stopped, match=r"genesys-engine-decider 1\.5.*: bad luck"):
        loop.go(Flaky("memory", 1))
    assert loop.events(kinds.ERROR_HANDLED)[0]["action"] == "stop"
    assert not [row for row in loop.verifications() if row.status == "failed"]
    loop.go(Flaky("memory", 0))
    assert len(loop.verifications()) == 15
    assert len(plugin.asked) == 1


def test_an_outage_may_count_as_a_failure(install: Install, loop: Loop) -> None:
    plugin = install(answering('"fail"'))
    loop.go(Flaky("infrastructure", 1))
    (failed,) = [row for row in loop.verifications() if row.status == "failed"]
    assert "bad luck" in failed.reason
    assert [(e["stage"], e["cause"]) for e in plugin.asked] == [("infrastructure", "outage")]
    assert loop.events(kinds.WORKER_LOST) == []


class Ending(RecordedExecutor):
    """Keeps all but the first `before` verifications until the run is ending, then fails them."""

    def __init__(self, status: Any, before: int) -> None:
        super().__init__(workers=3, fail=0.0, reject=0.0)
        self._status, self._before = status, before
        self.ending = Event()
        self.asked = False

    def stop(self) -> str | None:
        """Ask for the end once a verification is under way that will fail."""
        self.asked = self.asked or self.calls["train"] > self._before
        return "enough" if self.asked else None

    def _answer(self, job: str, payload: Any) -> Outcome:
        answer = super()._answer(job, payload)
        if job == "train" and self.calls[job] > self._before:
            assert self.ending.wait(20)
            return Outcome(self._status, None, "bad luck")
        return answer


def watch_launches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that the numbers of begun tasks will be in."""
    launched: list[int] = []
    launch = Evolution._launch

    def watched(evolution: Evolution, row: TaskRow) -> None:
        launched.append(row.seq)
        launch(evolution, row)

    monkeypatch.setattr(Evolution, "_launch", watched)
    return launched


def test_nothing_is_begun_again_once_the_end_is_asked_for(
    install: Install, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = install(answering('"retry"'))
    launched = watch_launches(monkeypatch)
    loop.stop = lambda: "enough" if plugin.asked else None
    with pytest.raises(Stopped, match="enough"):
        loop.go(Flaky("timeout", 1))
    assert len(launched) == len(set(launched))


@pytest.mark.parametrize("status", ["timeout", "infrastructure"])
def test_nothing_is_begun_again_while_a_run_ends(
    install: Install, loop: Loop, tmp_path: Path, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Loop(tmp_path / "plain")
    plain.go(Flaky("timeout", 0))
    if status == "timeout":
        install(answering('"retry"'))
    executor = Ending(status, 4)
    loop.stop = executor.stop
    drain = Evolution._drain

    def draining(evolution: Evolution) -> None:
        Timer(0.2, executor.ending.set).start()
        drain(evolution)

    monkeypatch.setattr(Evolution, "_drain", draining)
    launched = watch_launches(monkeypatch)
    with pytest.raises(Stopped, match="enough"):
        loop.go(executor)
    assert len(launched) == len(set(launched)), "each task was begun once"
    with Store.open(loop.folder) as store:
        waiting = store.tasks(unapplied_only=True)
        undone = [task.seq for task in waiting if task.result is None]
    assert undone
    told = loop.events(kinds.ERROR_HANDLED if status == "timeout" else kinds.WORKER_LOST)
    assert {event["seq"] for event in told} <= set(undone)
    assert told
    loop.stop = lambda: None
    loop.go(Flaky("timeout", 0))
    assert loop.digest() == plain.digest()


RAISES = """
class Raises:
    arity = (1, 1)
    def __call__(self, parents, context):
        raise ValueError("not today")

@api.hookimpl
def genesys_register_operators(register):
    register("raises", f"{__name__}:Raises", summary="one that raises")
"""
OPERATORS = '[[operators]]\nuse = "raises"\n[[operators]]\nuse = "hyperparameter_mutation"\n'


def test_an_operator_that_raises_may_cost_its_design_only(install: Install, tmp_path: Path) -> None:
    plugin = install(RAISES + answering('"fail" if error["stage"] == "design" else None'))
    loop = Loop(tmp_path / "run", OPERATORS)
    loop.go()
    assert plugin.asked
    assert "operator raises: raised ValueError: not today" in plugin.asked[0]["reason"]
    exhausted = {event["seq"] for event in loop.events(kinds.DESIGN_EXHAUSTED)}
    assert {error["seq"] for error in plugin.asked if error["stage"] == "design"} <= exhausted
    assert len(loop.verifications()) == 15


# what the operator returns -> what is said of it
ANSWERS = {
    "None": "it must return a Child, not NoneType",
    "tree": "it must return a Child, not GABTree",
    "api.Child(list(tree), 'x')": "Child.tree must be a GABTree, not list",
    "api.Child(type(tree)(tree[:-1]), 'x')": "malformed: nothing stands at root.mlp",
    "api.Child(type(tree)(list(tree) + tree[1:2]), 'x')": "malformed: the tree ends before node",
    "api.Child(type(tree)(['x']), 'x')": "malformed",
    "api.Child(tree, None)": "Child.change must be a sentence, not None",
    "api.Child(tree, 'x', {'path': {1}})": "the details are not JSON",
    "api.Child(tree, 'x', {'score': float('nan')})": "the details are not JSON",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_operator_that_answers_nonsense_is_named_and_what_is_under_way_is_finished(
    install: Install, tmp_path: Path, answer: str
) -> None:
    call = f"tree = parents[0].tree\n        return {answer}"
    plugin = install(RAISES.replace('raise ValueError("not today")', call) + answering("None"))
    loop = Loop(tmp_path / "run", OPERATORS)
    with pytest.raises(PluginError, match=ANSWERS[answer]) as raised:
        loop.go(RecordedExecutor(workers=16, delay_s=0.05))  # so that none waits for a worker
    assert raised.value.where == "operator raises"
    assert "update the plugin and resume" in str(raised.value.hint)
    assert plugin.asked[0]["stage"] == "design"
    with Store.open(loop.folder) as store:
        undone = store.tasks(unapplied_only=True)
        waiting = {task.seq for task in undone if task.result is None}
        assert all(task.kind == "design" for task in store.tasks() if task.seq in waiting)


def test_a_design_given_up_with_details_that_are_no_json_names_its_operator(
    install: Install, tmp_path: Path
) -> None:
    given_up = 'api.DesignAbandoned("no", code="x.y", details={"at": {1}})'
    install(RAISES.replace('ValueError("not today")', given_up))
    with pytest.raises(PluginError, match="operator raises: the details are not JSON"):
        Loop(tmp_path / "run", OPERATORS).go()


SELECTOR = """
class Picks:
    def parents(self, candidates, count, rng):
        return list(range(min(count, len(candidates))))
    def promote(self, candidates, rng):
        return 0
    def survivors(self, candidates, count):
        return list(range(min(count, len(candidates))))

def {method}(self, candidates, *rest):
    {body}
Picks.{method} = {method}

@api.hookimpl
def genesys_register_selectors(register):
    register("picks", f"{{__name__}}:Picks", summary="one that errs")
"""
PICKS = [
    ("parents", "raise ValueError('not today')", "parents raised ValueError: not today"),
    ("parents", "return None", "parents must return positions, not None"),
    ("parents", "return ['a'] * rest[0]", "parents must return positions"),
    ("parents", "return []", "parents must return 1 distinct positions, not"),
    ("promote", "return None", "promote must return positions"),
    ("promote", "return len(candidates)", "promote must return positions below"),
    ("promote", "return -1", "promote must return positions below"),
    ("survivors", "return 1 / 0", "survivors raised ZeroDivisionError"),
    ("survivors", "return [0] * rest[0]", "survivors must return 3 distinct positions"),
]


@pytest.mark.parametrize(("method", "body", "told"), PICKS)
@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_a_selector_that_errs_is_named(
    install: Install, tmp_path: Path, method: str, body: str, told: str, mode: str
) -> None:
    install(SELECTOR.format(method=method, body=body))
    loop = Loop(tmp_path / "run", '[selection]\nuse = "picks"\n')
    loop.sets = (f"run.mode={mode}", "population.size=3", "population.offspring=2")
    with pytest.raises(PluginError, match=told) as raised:
        loop.go()
    assert raised.value.where == "selector picks"
    assert "update the plugin" in str(raised.value.hint)


class LosingChecks(RecordedExecutor):
    """Loses the first `lost` checks, which are those of the seeds."""

    def __init__(self, lost: int) -> None:
        super().__init__(workers=1, fail=0.0, reject=0.0)
        self._lost = lost

    def _answer(self, job: str, payload: Any) -> Outcome:
        answer = super()._answer(job, payload)
        if job == "check" and self.calls[job] <= self._lost:
            return Outcome("infrastructure", None, "bad luck")
        return answer


def test_a_seed_whose_check_is_lost_is_not_given_up(
    install: Install, loop: Loop, tmp_path: Path
) -> None:
    plain = Loop(tmp_path / "plain")
    plain.go(LosingChecks(0))
    plugin = install(answering('"fail"'))
    loop.go(LosingChecks(2))
    assert loop.digest() == plain.digest()
    assert {error["stage"] for error in plugin.asked} == {"infrastructure"}
    assert loop.events(kinds.ERROR_HANDLED) == []
    assert len(loop.events(kinds.WORKER_LOST)) == 2


def test_a_run_whose_seed_was_given_up_ends_with_one_clear_error(loop: Loop) -> None:
    loop.stop = lambda: "enough" if loop.events(kinds.DESIGN_STARTED) else None
    with pytest.raises(Stopped):
        loop.go()
    nothing = '{"accepted": null, "duplicates": [], "rejected": []}'
    with closing(sqlite3.connect(loop.folder / DATABASE)) as db, db:
        db.execute("UPDATE tasks SET result = ? WHERE seq = 0", (nothing,))
    loop.stop = lambda: None
    for _ in range(2):
        with pytest.raises(InputError, match="seed design gpt"):
            loop.go()


def test_a_seed_that_is_another_one_is_named(loop: Loop) -> None:
    class Alike(RecordedExecutor):
        def _check(self, payload: Any) -> dict[str, Any]:
            found = super()._check(payload)
            return {**found, "measurements": {**found["measurements"], "fingerprint": "same"}}

    loop.sets = ("run.lookahead=1",)
    for _ in range(2):
        with pytest.raises(InputError, match=r"seed design retnet .* design 0"):
            loop.go(Alike(workers=1, fail=0.0, reject=0.0))


def test_an_answer_of_another_form_is_an_error(install: Install, loop: Loop) -> None:
    install(answering('"ignore"'))
    with pytest.raises(PluginError, match=r"'ignore'(?s:.*)\"stop\" or None"):
        loop.go(Flaky("timeout", 1))


# --- should stop -------------------------------------------------------------------------------


def test_whether_to_stop_is_asked_behind_every_result(install: Install, loop: Loop) -> None:
    plugin = install("""
@api.hookimpl
def genesys_should_stop(status):
    asked.append(dict(status))
    return "enough" if status["verifications"] == 4 else None
""")
    with pytest.raises(Stopped, match="enough"):
        loop.go(RecordedExecutor(workers=2, delay_s=0.2))
    applied = loop.events(kinds.VERIFICATION_FINISHED) + loop.events(kinds.VERIFICATION_FAILED)
    assert len(applied) == 4
    with Store.open(loop.folder) as store:
        assert len(plugin.asked) == sum(task.applied for task in store.tasks())
    assert plugin.asked[-1]["best_fitness"] is not None


@pytest.mark.parametrize("answer", ["True", "''", "' '"])
def test_a_reason_that_says_nothing_is_an_error(install: Install, loop: Loop, answer: str) -> None:
    install(f"\n@api.hookimpl\ndef genesys_should_stop(status):\n    return {answer}\n")
    with pytest.raises(PluginError, match=f": {answer};"):
        loop.go()
