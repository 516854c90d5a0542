"""The confirmation of a run's best design: a full audit, and predictions without the answers."""

import json
import shutil
import sqlite3
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_process import write_experiment
from safetensors.torch import load_file, save_file

from genesys_engine.engine.check import audit, blind_test, confirmation
from genesys_engine.engine.check.confirmation import confirm, disagreement
from genesys_engine.engine.cli import main
from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.jobs.replies import ConfirmReply
from genesys_engine.engine.jobs.results import ConfirmResult
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.checks.report import CheckReport
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

PRELOAD = ("torch", "torch._dynamo", "safetensors.torch", "genesys_engine.plugins.audit_job")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confirmed")
    file = write_experiment(folder, verifications=1, designs=1, lookahead=1, timeout_s=120)
    main(["run", str(file), "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture(scope="module")
def executor():
    executor = ProcessExecutor(ProcessOptions(preload=PRELOAD), workers=1)
    yield executor
    executor.close()


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "copy"))


def corpus_of(folder):
    with Store.open(folder) as store:
        return Path(store.meta("corpus")["folder"])


def look(folder, executor, design=0):
    with Store.open(folder) as store:
        corpus = corpus_of(folder)
        return confirm(store, design, executor, corpus, Limits(readable=(str(corpus),)))


def test_a_run_ends_with_a_second_look(run, capsys):
    with Store.open(run) as store:
        found = store.meta("confirmation")
    assert found["problem"] == ""
    assert abs(found["blind"] - found["claimed"]) < 4 * found["stderr"] + 0.02 * found["claimed"]
    assert found["text"].startswith(f"Audit of design {found['design']}: passed")
    assert main(["leaderboard", str(run)]) == 0
    assert found["text"] in capsys.readouterr().err
    main(["report", str(run)])
    assert found["text"] in (run / "report.html").read_text("utf-8")


def test_a_forged_score_is_too_good_to_be_true(copy, executor):
    honest = look(copy, executor)
    assert honest.problem == ""
    with sqlite3.connect(copy / "run.sqlite") as db:
        for row, scores in db.execute("SELECT id, scores FROM verifications").fetchall():
            told = json.loads(scores)
            told["bits_per_byte"]["value"] *= 0.6
            db.execute("UPDATE verifications SET scores = ? WHERE id = ?", (json.dumps(told), row))
    forged = look(copy, executor)
    assert "too good to be true" in forged.problem
    assert forged.blind == honest.blind
    assert forged.text == f"Audit of design 0: {forged.problem}."


def test_weights_that_are_not_the_design_s_confirm_nothing(copy, executor):
    for weights in (copy / "checkpoints").iterdir():
        weights.write_bytes(b"nothing")
    assert look(copy, executor).problem.startswith("the blind test failed")


def test_weights_that_predict_no_numbers_are_told_in_what_a_store_can_keep(copy, executor):
    for weights in (copy / "checkpoints").iterdir():
        broken = {name: torch.full_like(t, torch.nan) for name, t in load_file(weights).items()}
        save_file(broken, weights)
    found = look(copy, executor)
    assert "not finite" in found.problem
    assert (found.blind, found.stderr) == (None, None)
    assert found.problem in canonical_json(found.to_json())


class Answering:
    """An executor whose audits pass, and whose blind tests end as it is told."""

    def __init__(self, outcome):
        self.outcome = outcome

    def submit(self, target, payload, scratch, limits):
        future = Future()
        if target == audit.AUDIT:
            reply = {"report": CheckReport().to_json(), "facts": {}, "machine_findings": []}
            future.set_result(Outcome("ok", reply))
        else:
            future.set_result(self.outcome)
        return future


@pytest.mark.parametrize("reason", ["", "\n", "what happened\nand more"])
def test_a_blind_test_that_fails_is_told_with_whatever_reason_there_is(run, reason):
    told = look(run, Answering(Outcome("error", None, reason))).problem
    said = reason.strip().split("\n")[0] or "no reason given"
    assert told == f"the blind test failed: error: {said}"


def test_a_machine_that_fails_the_blind_test_is_no_problem_of_the_design(run):
    with pytest.raises(EnvironmentProblem, match="could not be run: no room for a worker"):
        look(run, Answering(Outcome("infrastructure", None, "no room for a worker")))


GOOD = {"places": 90, "bits": 9.0, "stderr": 0.1, "seen": 0.0, "seen_stderr": 0.0, "problem": ""}


@pytest.mark.parametrize(
    "odd", [{"bits": "x"}, {"bits": float("inf")}, {"places": -1}, {"more": 1}, {"problem": None}]
)
def test_an_answer_of_another_form_is_a_fault_of_the_design(run, odd):
    assert look(run, Answering(Outcome("ok", GOOD))).blind == 9.0
    found = look(run, Answering(Outcome("ok", {**GOOD, **odd})))
    assert found.problem.startswith("the blind test failed")
    assert found.blind is None


def test_no_weights_leave_the_audit(copy, executor):
    shutil.rmtree(copy / "checkpoints")
    found = look(copy, executor)
    assert (found.problem, found.blind) == ("", None)
    assert found.text.startswith("Audit of design 0: passed")


def test_a_design_that_fails_the_full_audit_is_told(copy, executor, monkeypatch):
    with sqlite3.connect(copy / "run.sqlite") as db:  # the run's own look has passed it
        db.execute("DELETE FROM confirmations")
    leak = Path(__file__).parents[2] / "zoo/bad/training.too_good.leaks_in_eight_rows.py"
    monkeypatch.setattr(confirmation, "compose", lambda _: leak.read_text("utf-8"))
    assert look(copy, executor).problem == "the full audit found training.too_good"


def of_score(bits, stderr, problem=""):
    return ConfirmReply(places=99, bits=bits, stderr=stderr, problem=problem)


def test_no_number_confirms_nothing():
    assert disagreement(3.0, of_score(3.1, 0.05)) == ""
    assert disagreement(3.0, of_score(2.5, 0.05)) == ""  # better than claimed
    assert "too good to be true" in disagreement(3.0, of_score(3.5, 0.05))
    for bits, stderr in ((None, 0.05), (3.1, None)):
        assert disagreement(3.0, of_score(bits, stderr))
    assert replace(ConfirmResult(0, (), "")).text.endswith("passed.")


def test_what_the_sample_says_is_told():
    assert "likelier" in disagreement(3.0, of_score(3.0, 0.05, "the truth is 1 nats likelier"))


def test_too_few_answers_say_nothing(run, executor, monkeypatch):
    monkeypatch.setattr(blind_test, "FEWEST", 10**6)
    found = look(run, executor)
    assert (found.problem, found.blind) == ("", None)
    assert found.claimed is not None
