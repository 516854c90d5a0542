"""The two jobs of a verification, from payload to reply."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from training_support import BLOCK, CONTEXT
from verification_support import (
    EVALUATORS,
    evaluated_here,
    evaluated_in,
    evaluation_job,
    payload,
    plain,
    trained_in,
    training_job,
    training_limits,
    verify,
)

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins import checkpoint, evaluate_job
from genesys_engine.plugins.evaluate_job import controls
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.executors.options import preloaded_with
from genesys_engine.plugins.learned import count_learned
from genesys_engine.plugins.sandbox import SandboxHost, isolation_here
from genesys_engine.plugins.trainers.pytorch import TorchTrainer


@pytest.fixture(scope="module")
def reply(corpus, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    return verify(payload(corpus), scratch), scratch


def test_a_design_that_learns_is_ok(reply):
    answer, scratch = reply
    assert (answer["status"], answer["reason"]) == ("ok", "")
    assert set(answer["scores"]) == {"bits_per_byte", "continuation:acc", "corruption:acc"}
    untrained = answer["controls"]["untrained"]
    assert set(untrained) == set(answer["scores"])
    assert answer["scores"]["bits_per_byte"]["value"] < untrained["bits_per_byte"]["value"] - 0.3
    assert answer["curve"][-1][1] < answer["curve"][0][1] - 0.5
    assert answer["tokens"] >= 30_000
    assert answer["parameters"] > 16_000
    assert (scratch / answer["checkpoint"]).is_file()
    assert all(answer["facts"][key] > 0 for key in ("train_s", "eval_s", "build_s", "tokens_per_s"))


def test_the_speed_is_that_of_the_tokens_since_the_trial_went_on(corpus, tmp_path, monkeypatch):
    real = TorchTrainer.train

    def gone_on(*arguments):
        result = real(*arguments)
        assert result.facts["resumed_at_tokens"] == 0
        return replace(result, facts={**result.facts, "resumed_at_tokens": result.tokens - 100})

    monkeypatch.setattr(TorchTrainer, "train", gone_on)
    facts = verify(payload(corpus, tokens=2_000), tmp_path)["facts"]
    assert facts["tokens_per_s"] * facts["train_s"] == pytest.approx(100)


def test_the_reply_is_json_and_depends_on_the_payload_alone(corpus, reply, tmp_path):
    answer, scratch = reply
    again = verify(json.loads(json.dumps(payload(corpus))), tmp_path)
    first = {k: v for k, v in answer.items() if k != "facts"}
    assert json.dumps(first, allow_nan=False) == json.dumps(
        {k: v for k, v in again.items() if k != "facts"}, allow_nan=False
    )
    name = answer["checkpoint"]
    assert (scratch / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_strictest_isolation_changes_no_word_of_the_reply(corpus, reply, tmp_path):
    """Training, held-out text and lm-eval's tasks, with its data sets, inside the sandbox."""
    host = SandboxHost(workers=1, preload=preloaded_with(LmEvalEvaluator.preload))
    job = payload(corpus)
    try:
        trained = trained_in(host, job, corpus, tmp_path / "1")
        assert trained.status == "ok", trained.reason
        weights = tmp_path / "1" / trained.value["checkpoint"]
        scored = evaluated_in(host, job, corpus, tmp_path / "2", weights)
    finally:
        host.close()
    assert scored.status == "ok", scored.reason
    answer, scratch = reply
    assert plain({**trained.value, **scored.value}) == plain(answer)
    assert (scratch / answer["checkpoint"]).read_bytes() == weights.read_bytes()


@pytest.fixture(scope="module")
def bare_host():
    """Workers of an experiment whose plugins ask for nothing more."""
    host = SandboxHost(workers=1, preload=preloaded_with())
    yield host
    host.close()


def test_a_training_holds_no_compiler_and_nothing_of_lm_eval(bare_host, corpus, tmp_path):
    asked = ["torch", "torch._dynamo", "sympy", "datasets", "pandas", "lm_eval", "transformers"]
    job = {**training_job(payload(corpus, tokens=1000)), "asked": asked}
    limits = training_limits(corpus)
    outcome = bare_host.submit("imported:after_training", job, tmp_path, limits).result()
    assert outcome.value == {"status": "ok", "asked": ["torch"]}, outcome.reason


PEEKING = """
import os
def peek(folder):
    for name in ("train.bin", "heldout.bin", "tasks/continuation.jsonl"):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                yield name if file.read(1) else "nothing in " + name
        except PermissionError:
            continue
"""


@pytest.mark.skipif(bool(isolation_here().missing("standard")), reason="needs Landlock")
def test_a_training_job_cannot_open_what_it_will_be_scored_with(bare_host, corpus, tmp_path):
    """A real attempt, with the limits that a run gives its trainings."""
    raising = f"raise RuntimeError(list(peek({str(corpus.folder)!r})))"
    block = PEEKING + BLOCK.replace("return X +", f"{raising}\n        return X +")
    outcome = trained_in(bare_host, payload(corpus, source=block), corpus, tmp_path)
    assert outcome.reason == "RuntimeError: ['train.bin']"


def test_a_training_job_is_asked_nothing_of_what_it_will_be_scored_with(corpus):
    asked = training_job(payload(corpus))
    assert set(asked) == {"source", "model", "corpus", "seed", "budget", "trainer"}


def test_the_score_is_that_of_the_file(corpus, reply, tmp_path, monkeypatch):
    """A checkpoint that is tampered with after training changes the score."""
    from safetensors.torch import load_file, save_file

    real = checkpoint.load_checkpoint

    def tampering(model, path):
        state = load_file(path)
        state["embedding.weight"] = state["embedding.weight"].flip(0).contiguous()
        save_file(state, path)
        real(model, path)

    monkeypatch.setattr(checkpoint, "load_checkpoint", tampering)
    tampered = verify(payload(corpus), tmp_path)
    assert tampered["curve"] == reply[0]["curve"]
    honest = reply[0]["scores"]["bits_per_byte"]["value"]
    assert tampered["scores"]["bits_per_byte"]["value"] > honest + 0.3
    assert tampered["status"] == "failed"


def test_a_checkpoint_that_is_not_read_is_a_failure(corpus, tmp_path, monkeypatch):
    """The scored model is a new one: without the file it ties with the untrained control."""
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda model, path: None)
    unread = verify(payload(corpus), tmp_path)
    assert unread["status"] == "failed"
    told = re.search(r"untrained control: ([\d.]+) against ([\d.]+)", unread["reason"])
    assert told is not None
    assert told[1] == told[2], "over the windows that both have"


def test_the_control_is_scored_on_a_quarter(reply):
    scores, untrained = reply[0]["scores"], reply[0]["controls"]["untrained"]
    assert (scores["bits_per_byte"]["n"], untrained["bits_per_byte"]["n"]) == (40, 10)
    assert (scores["corruption:acc"]["n"], untrained["corruption:acc"]["n"]) == (30, 7)


def test_a_model_that_did_not_learn_has_failed(corpus, tmp_path):
    job = payload(corpus, tokens=2_000, recipe="published", peak_lr=1e-30)
    answer = verify(job, tmp_path)
    assert answer["status"] == "failed"
    assert answer["reason"].startswith("trained model does not beat its untrained control")


POISONED = BLOCK.replace("return X +", "return X * (torch.nan if self.training else 1.0) +")
EXPLODING = BLOCK.replace("return X +", "return X / X.norm().sub(X.norm()) +")


def test_a_loss_that_is_not_finite_has_failed_with_its_reason(corpus, tmp_path):
    assert POISONED != BLOCK
    answer = verify(payload(corpus, source=POISONED), tmp_path)
    assert answer["status"] == "failed"
    assert "training loss is nan" in answer["reason"]
    assert not answer.get("scores")
    json.dumps(answer, allow_nan=False)


def test_scores_that_are_not_finite_never_reach_the_reply(corpus, reply, tmp_path):
    trained, scratch = reply
    job = evaluation_job(payload(corpus, source=EXPLODING), scratch / trained["checkpoint"])
    answer = evaluated_here(job, tmp_path)
    assert answer["status"] == "failed"
    assert "bits_per_byte" not in {**answer["scores"], **answer["controls"]["untrained"]}
    json.dumps(answer, allow_nan=False)


def test_scores_of_items_are_written_as_rows_of_float32(tmp_path):
    """Whatever an evaluator keeps: the engine takes no other form."""
    kept = SimpleNamespace(samples={"a": np.array([[1.0], [0.5]]), "b": [True, False, True]})
    evaluate_job._write_samples([kept, SimpleNamespace()], tmp_path / "samples")
    rows = load_file(tmp_path / "samples")
    assert {name: (row.dtype, row.tolist()) for name, row in rows.items()} == {
        "a": (np.float32, [1.0, 0.5]),
        "b": (np.float32, [1.0, 0.0, 1.0]),
    }


# --- what is learned counts ---

BUFFERS = """self.norm = nn.LayerNorm(embed_dim, **kw)
        self.register_buffer("kept", torch.zeros({rows}, embed_dim, **kw))"""
CHANGED = """H = nn.functional.pad
        if self.training:
            with torch.no_grad():
                self.kept.lerp_(X.mean((0, 1)).expand_as(self.kept), 0.1)
        H = nn.functional.pad"""


def with_buffer(rows, *, changed):
    block = BLOCK.replace("self.norm = nn.LayerNorm(embed_dim, **kw)", BUFFERS.format(rows=rows))
    return block.replace("H = nn.functional.pad", CHANGED) if changed else block


@pytest.mark.parametrize(
    ("rows", "changed", "cause"),
    [(1, True, ""), (500, False, ""), (500, True, "contradicted")],
    ids=["a running mean", "a large table", "learned elsewhere"],
)
def test_what_training_has_changed_counts_whatever_it_is_called(
    corpus, tmp_path, rows, changed, cause
):
    answer = verify(payload(corpus, source=with_buffer(rows, changed=changed)), tmp_path)
    assert (answer["status"], answer["cause"]) == ("failed" if cause else "ok", cause)
    if cause:
        assert f"{2 * rows * 32:,} numbers" in answer["reason"]


def test_parameters_are_counted_in_the_checkpoint(corpus, reply):
    trained, scratch = reply
    job = evaluation_job(payload(corpus), scratch / trained["checkpoint"])
    sizes = [values.size for values in load_file(job["checkpoint"]).values()]
    assert evaluated_here(job, scratch)["parameters"] == trained["parameters"] == sum(sizes)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"parameters": ["embedding.weight"], "buffers": []}, (1000, 70)),
        ({"parameters": [], "buffers": ["embedding.weight", "mask"]}, (0, 1050)),
        ({"parameters": ["embedding.weight", "up", "nothing"], "buffers": ["mask"]}, (1050, 0)),
    ],
    ids=["one left out", "called a buffer", "all"],
)
def test_the_count_is_that_of_the_file_whatever_is_said(tmp_path, said, wanted):
    save_file(
        {
            "embedding.weight": np.ones((20, 50), np.float32),
            "up": np.ones(50, np.float32),
            "mask": np.full(20, np.nan, np.float32),
        },
        tmp_path / "file",
    )
    fresh = {"mask": torch.full((20,), torch.nan), "embedding.weight": torch.zeros(20, 50)}
    values = [fresh[name] for name in said["buffers"]]
    subject = SimpleNamespace(ask=lambda _: (said, values))
    found = count_learned(subject, str(tmp_path / "file"))
    assert (found.parameters, found.others) == wanted


def test_bits_per_byte_is_required(corpus, tmp_path):
    job = payload(corpus)
    job["evaluators"] = EVALUATORS[1:]
    with pytest.raises(InputError, match="no evaluator gives bits_per_byte"):
        verify(job, tmp_path)


def test_the_reply_fits_the_engines_schema(reply):
    from genesys_engine.engine.jobs.replies import VerifyReply

    assert VerifyReply.model_validate(reply[0]).not_measured() is None


def test_the_bigram_control_has_the_same_metrics(corpus, reply, tmp_path):
    job = {"corpus": str(corpus.folder), "context": CONTEXT, "evaluators": EVALUATORS}
    answer = controls(job, tmp_path)
    assert set(answer["bigram"]) == set(reply[0]["scores"])
    assert answer == controls(job, tmp_path)
    untrained = reply[0]["controls"]["untrained"]["bits_per_byte"]["value"]
    assert answer["bigram"]["bits_per_byte"]["value"] < untrained
    assert evaluate_job.METRIC in answer["bigram"]
