"""`transformers.Trainer` in our place: the same data, budget and schedule, the same loss."""

import pytest
from verification_support import evaluated_in, payload, trained_in

from genesys_engine.plugins.sandbox import SandboxHost
from genesys_engine.plugins.testing import samples
from genesys_engine.plugins.trainers.hf import HfTrainer
from genesys_engine.plugins.trainers.options import TorchTrainerOptions, TrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer


@pytest.mark.slow
def test_trainers_are_interchangeable(corpus, tmp_path):
    results = []
    for make in (
        lambda: TorchTrainer(TorchTrainerOptions(warmup_fraction=0.1, grad_clip=0.3)),
        lambda: HfTrainer(TrainerOptions(warmup_fraction=0.1, grad_clip=0.3)),
    ):
        model = samples.small_model(corpus.vocab_size)
        results.append(make().train(model, corpus, samples.BUDGET, tmp_path / "model.safetensors"))
    ours, theirs = results
    assert (ours.tokens, ours.steps) == (theirs.tokens, theirs.steps)
    assert [tokens for tokens, _ in ours.curve] == [tokens for tokens, _ in theirs.curve]
    for (_, one), (_, two) in zip(ours.curve, theirs.curve, strict=True):
        assert one == pytest.approx(two, abs=1e-3)


@pytest.mark.slow
def test_it_trains_in_the_sandbox(corpus, tmp_path):
    job = payload(corpus, tokens=3_000)
    job["trainer"] = {"target": "genesys_engine.plugins.trainers.hf:HfTrainer", "options": {}}
    job["evaluators"] = job["evaluators"][:1]
    host = SandboxHost(workers=1, preload=("torch",))
    try:
        outcome = trained_in(host, job, corpus, tmp_path / "1", wall_s=250)
        assert outcome.status == "ok", outcome.reason
        weights = tmp_path / "1" / outcome.value["checkpoint"]
        scored = evaluated_in(host, job, corpus, tmp_path / "2", weights)
    finally:
        host.close()
    assert scored.status == "ok", scored.reason
    assert scored.value["status"] == "ok", scored.value["reason"]
    assert outcome.value["tokens"] >= 3_000
