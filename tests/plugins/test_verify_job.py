"""The verification job from payload to reply."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file
from training_support import BLOCK, CONTEXT

from genesys_engine.gab.errors import InputError
from genesys_engine.gab.sandbox import Limits, SandboxHost, isolation_here
from genesys_engine.plugins import checkpoint, verify_job
from genesys_engine.plugins.executors.process import ProcessOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer
from genesys_engine.plugins.verify_job import controls, verify

BASE = "genesys_engine.plugins"
EVALUATORS = [
    {
        "name": "heldout",
        "target": f"{BASE}.evaluators.heldout:HeldoutEvaluator",
        "options": {"windows": 40},
    },
    {
        "name": "lm_eval",
        "target": f"{BASE}.evaluators.lm_eval:LmEvalEvaluator",
        "options": {"limit": 30},
    },
]


def payload(corpus, *, source=BLOCK, tokens=30_000, peak_lr=5e-3, **trainer):
    return {
        "source": source,
        "model": {
            "d_model": 32,
            "n_blocks": 2,
            "vocab_size": corpus.vocab_size,
            "context": CONTEXT,
        },
        "corpus": str(corpus.folder),
        "seed": 3,
        "budget": {"tokens": tokens, "batch_tokens": 4 * CONTEXT, "peak_lr": peak_lr},
        "trainer": {"target": f"{BASE}.trainers.pytorch:TorchTrainer", "options": trainer},
        "evaluators": EVALUATORS,
    }


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
    assert answer["facts"]["max_rss_bytes"] > 1 << 26


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
    host = SandboxHost(workers=1, preload=ProcessOptions().preload)
    limits = Limits(readable=(str(corpus.folder),))
    target = "genesys_engine.plugins.verify_job:verify"
    try:
        outcome = host.submit(target, payload(corpus), tmp_path, limits).result(240)
        closed = host.submit(target, payload(corpus), tmp_path / "2", Limits()).result(240)
    finally:
        host.close()
    assert outcome.status == "ok", outcome.reason
    answer, scratch = reply
    for value in (first := dict(answer), inside := dict(outcome.value)):
        del value["facts"]
    assert inside == json.loads(json.dumps(first))
    name = answer["checkpoint"]
    assert (scratch / name).read_bytes() == (tmp_path / name).read_bytes()
    if not isolation_here().missing("standard"):
        assert closed.status == "error"
        assert "Permission denied" in closed.reason  # the corpus is open only to who may read it


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
    assert unread["scores"] == unread["controls"]["untrained"]
    assert unread["status"] == "failed"
    assert "does not beat its untrained control" in unread["reason"]


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
    assert math.isfinite(answer["controls"]["untrained"]["bits_per_byte"]["value"])
    json.dumps(answer, allow_nan=False)


def test_scores_that_are_not_finite_never_reach_the_reply(corpus, tmp_path):
    answer = verify(payload(corpus, source=EXPLODING), tmp_path)
    assert answer["status"] == "failed"
    assert "bits_per_byte" not in answer["controls"]["untrained"]
    json.dumps(answer, allow_nan=False)


def test_scores_of_items_are_written_as_rows_of_float32(tmp_path):
    """Whatever an evaluator keeps: the engine takes no other form."""
    kept = SimpleNamespace(samples={"a": np.array([[1.0], [0.5]]), "b": [True, False, True]})
    verify_job._write_samples([kept, SimpleNamespace()], tmp_path / "samples")
    rows = load_file(tmp_path / "samples")
    assert {name: (row.dtype, row.tolist()) for name, row in rows.items()} == {
        "a": (np.float32, [1.0, 0.5]),
        "b": (np.float32, [1.0, 0.0, 1.0]),
    }


def test_bits_per_byte_is_required(corpus, tmp_path):
    job = payload(corpus)
    job["evaluators"] = EVALUATORS[1:]
    with pytest.raises(InputError, match="no evaluator gives bits_per_byte"):
        verify(job, tmp_path)


def test_the_reply_fits_the_engines_schema(reply):
    from genesys_engine.engine.replies import VerifyReply

    assert VerifyReply.model_validate(reply[0]).not_finite() is None


def test_the_bigram_control_has_the_same_metrics(corpus, reply, tmp_path):
    job = {"corpus": str(corpus.folder), "context": CONTEXT, "evaluators": EVALUATORS}
    answer = controls(job, tmp_path)
    assert set(answer["bigram"]) == set(reply[0]["scores"])
    assert answer == controls(job, tmp_path)
    untrained = reply[0]["controls"]["untrained"]["bits_per_byte"]["value"]
    assert answer["bigram"]["bits_per_byte"]["value"] < untrained
    assert verify_job.METRIC in answer["bigram"]
