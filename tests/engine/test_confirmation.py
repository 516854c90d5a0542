"""The second look at a run's best design: a full audit, and predictions without the answers."""

import json
import shutil
import sqlite3
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_process import EXPERIMENT, write_text
from safetensors.torch import load_file, save_file

from genesys_engine.engine import auditing, blind, confirmation
from genesys_engine.engine.blind import BlindScore, answer_bits, per_byte, questions
from genesys_engine.engine.cli import main
from genesys_engine.engine.confirmation import confirm, disagreement
from genesys_engine.engine.events import canonical_json
from genesys_engine.engine.store import Store
from genesys_engine.gab.checks.report import CheckReport
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.blind_job import PREDICTIONS
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

PRELOAD = ("torch", "torch._dynamo", "safetensors.torch", "genesys_engine.plugins.audit_job")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confirmed")
    values = {"lookahead": 1, "verifications": 1, "designs": 1, "timeout_s": 120, "more": ""}
    text = write_text(folder)
    (folder / "experiment.toml").write_text(EXPERIMENT.format(text=text, **values))
    main(["run", str(folder / "experiment.toml"), "--out", str(folder / "run")])
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
        return confirm(store, design, executor, corpus_of(folder), Limits())


def test_a_run_ends_with_a_second_look(run, capsys):
    with Store.open(run) as store:
        found = store.meta("confirmation")
    assert found["problem"] == ""
    assert abs(found["blind"] - found["claimed"]) < 4 * found["stderr"] + 0.02 * found["claimed"]
    assert found["text"].startswith(f"Second look at design {found['design']}: full audit passed")
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
    assert forged.text == f"Second look at design 0: {forged.problem}."


def test_weights_that_are_not_the_design_s_confirm_nothing(copy, executor):
    for weights in (copy / "checkpoints").iterdir():
        weights.write_bytes(b"nothing")
    assert look(copy, executor).problem.startswith("the blind test failed")


def test_weights_that_predict_no_numbers_are_told_in_what_a_store_can_keep(copy, executor):
    for weights in (copy / "checkpoints").iterdir():
        broken = {name: torch.full_like(t, torch.nan) for name, t in load_file(weights).items()}
        save_file(broken, weights)
    found = look(copy, executor)
    assert "too good to be true" in found.problem
    assert (found.blind, found.stderr) == (None, None)
    assert found.problem in canonical_json(found.to_json())


class Answering:
    """An executor whose audits pass, and whose blind tests do what it is told."""

    def __init__(self, outcome, predictions=None):
        self.outcome, self.predictions = outcome, predictions

    def submit(self, target, payload, scratch, limits):
        future = Future()
        if target == auditing.AUDIT:
            reply = {"report": CheckReport().to_json(), "facts": {}, "machine_findings": []}
            future.set_result(Outcome("ok", reply))
            return future
        if self.predictions is not None:
            sizes = [len(texts) for texts in payload["texts"]]
            self.predictions(scratch / PREDICTIONS, sizes, payload["model"]["vocab_size"])
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


def of(dtype, more=0):
    def lay(path, sizes, vocabulary):
        shapes = {str(n): (size, vocabulary + more) for n, size in enumerate(sizes)}
        save_file({n: torch.zeros(shape).to(dtype) for n, shape in shapes.items()}, path)

    return lay


def too_few(path, sizes, vocabulary):
    save_file({"0": torch.zeros(sizes[0], vocabulary)}, path)


def with_metadata_that_is_no_text(path, sizes, vocabulary):
    tensors = {"0": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}
    header = json.dumps({"__metadata__": {"a": 1}, **tensors}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


@pytest.mark.parametrize(
    "predictions",
    [
        None,
        of(torch.bfloat16),
        of(torch.float8_e4m3fn),
        of(torch.float64),
        of(torch.float32, more=1),
        too_few,
        with_metadata_that_is_no_text,
    ],
)
def test_predictions_of_another_form_are_a_fault_of_the_design(run, predictions):
    assert look(run, Answering(Outcome("ok", {}), of(torch.float32))).blind is not None
    found = look(run, Answering(Outcome("ok", {}), predictions))
    assert found.problem.startswith("the blind test failed")
    assert found.blind is None


def test_no_weights_leave_the_audit(copy, executor):
    shutil.rmtree(copy / "checkpoints")
    found = look(copy, executor)
    assert (found.problem, found.blind) == ("", None)
    assert found.text.startswith("Second look at design 0: full audit passed")


def test_a_design_that_fails_the_full_audit_is_told(copy, executor, monkeypatch):
    with sqlite3.connect(copy / "run.sqlite") as db:  # the run's own look has passed it
        db.execute("DELETE FROM confirmations")
    leak = Path(__file__).parents[1] / "zoo/bad/training.too_good.leaks_in_large_batches.py"
    monkeypatch.setattr(confirmation, "compose", lambda _: leak.read_text("utf-8"))
    assert look(copy, executor).problem == "the full audit found training.too_good"


def test_no_beginning_holds_an_answer(run):
    corpus = Corpus.open(corpus_of(run))
    context = 128
    asked = questions(corpus, context, 7)
    windows = corpus.heldout_windows(context)
    rows = windows.inputs.tolist()
    used = []
    for texts, right in zip(asked.beginnings, asked.answers, strict=True):
        for text, answer in zip(texts.tolist(), right, strict=True):
            fitting = [n for n, row in enumerate(rows) if row[: len(text)] == text]
            assert answer in windows.targets[fitting, len(text) - 1]
            used += fitting if len(text) > 8 else []  # a short one may stand in several
    assert len(used) == len(set(used)) > 16  # each window once
    assert max(texts.shape[1] for texts in asked.beginnings) < context
    assert all(texts.shape[1] == context for texts in asked.windows)


def test_the_score_is_that_of_normalised_predictions():
    logits, right = torch.randn(20, 7) * 3, torch.randint(7, (20,))
    sizes = np.array([1, 2, 3, 1, 1, 4, 2])[right.numpy()]
    nats = torch.nn.functional.cross_entropy(logits, right, reduction="sum")
    bits = answer_bits([logits.numpy()], [right.numpy()])
    value, stderr = per_byte(bits, sizes)
    assert value == pytest.approx(float(nats) / np.log(2) / sizes.sum(), rel=1e-5)
    assert 0 < stderr < value
    more = answer_bits([logits.numpy() + 1000], [right.numpy()])  # a constant buys nothing
    assert per_byte(more, sizes)[0] == pytest.approx(value, rel=1e-3)
    with pytest.raises(InputError, match="not as many"):
        answer_bits([logits.numpy()[:3]], [right.numpy()])


def of_score(bits, stderr, seen=0.0, seen_stderr=0.0):
    return BlindScore(bits, stderr, seen, seen_stderr)


def test_no_number_confirms_nothing():
    assert disagreement(3.0, of_score(3.1, 0.05)) == ""
    assert disagreement(3.0, of_score(2.5, 0.05)) == ""  # better than claimed
    for bits, stderr in ((3.5, 0.05), (np.nan, 0.05), (3.1, np.nan)):
        assert "too good to be true" in disagreement(3.0, of_score(bits, stderr))
    assert replace(confirmation.Confirmation(0, (), "")).text.endswith("full audit passed.")


def test_a_model_that_is_better_where_it_sees_what_follows_is_too_good_to_be_true():
    assert disagreement(3.0, of_score(3.0, 0.05, 0.004, 0.0)) == ""  # rounding
    assert disagreement(3.0, of_score(3.0, 0.05, 0.02, 0.01)) == ""  # within the noise
    assert "2.970 for the same" in disagreement(3.0, of_score(3.0, 0.05, 0.03, 0.005))


def test_too_few_answers_say_nothing(run, executor, monkeypatch):
    monkeypatch.setattr(blind, "FEWEST", 10**6)
    found = look(run, executor)
    assert (found.problem, found.blind) == ("", None)
    assert found.claimed is not None
