"""A killed verification goes on from its training checkpoint; one that fails keeps its curve."""

import json
import time
from contextlib import nullcontext

import pytest

from genesys_engine.engine.designer import InfrastructureFailure
from genesys_engine.engine.trials import Trials
from genesys_engine.engine.verifier import RungSettings, TrialLost, Verifier, VerifySettings
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing import samples
from genesys_engine.plugins.trainers.live_curve import LiveCurve
from genesys_engine.plugins.trainers.session import TRAINING

BASE = "genesys_engine.plugins"
MODEL = {"d_model": 32, "n_blocks": 1, "vocab_size": samples.VOCABULARY, "context": 64}


@pytest.mark.slow
def test_what_was_trained_before_a_kill_is_not_trained_again(tmp_path):
    corpus = samples.tiny_corpus(tmp_path / "cache")
    rung = RungSettings("0.2M", 64, 150_000, 512, 3e-3)
    settings = VerifySettings(
        0,
        corpus.folder,
        (rung,),
        {
            "target": f"{BASE}.trainers.pytorch:TorchTrainer",
            "options": {"checkpoint_every_s": 0.05},
        },
        [{"target": f"{BASE}.evaluators.heldout:HeldoutEvaluator", "options": {"windows": 8}}],
        Limits(wall_s=250, readable=(str(corpus.folder),)),
    )
    options = ProcessOptions(preload=("torch",))
    state = tmp_path / "scratch" / "verify-7" / TRAINING

    def begun(executor):
        trials = Trials(PluginHost(), executor, "process", lambda *_: nullcontext())
        verifier = Verifier(trials, settings, tmp_path)
        job = verifier.payload(samples.small_source(), MODEL, 0, 0)
        return verifier.start(7, job, "kept", {})

    executor = ProcessExecutor(options, workers=1)
    running = begun(executor)
    while not state.exists():
        assert not running.done(), "it ended before it could be killed"
        time.sleep(0.01)
    executor.close()
    with pytest.raises(InfrastructureFailure):
        running.result(timeout=30)
    assert [path.name for path in state.parent.iterdir()] == [TRAINING]

    executor = ProcessExecutor(options, workers=1)
    try:
        again = begun(executor).result(timeout=250)
        state.parent.mkdir(parents=True, exist_ok=True)
        fresh = begun(executor).result(timeout=250)
    finally:
        executor.close()
    assert again.facts["resumed_at_step"] > 0 == fresh.facts["resumed_at_step"]
    assert json.dumps(again.result) == json.dumps(fresh.result)
    assert not state.parent.exists()


def test_a_corpus_that_cannot_be_read_is_no_fault_of_the_design(tmp_path):
    """And a job that only says so is not believed."""
    corpus = samples.tiny_corpus(tmp_path / "cache")
    settings = VerifySettings(0, corpus.folder, (), {"options": {}}, [], Limits())
    trials = Trials(PluginHost(), None, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings, tmp_path)
    shard = corpus.folder / "train.bin"
    facts = {"wall_s": 3.0}
    outcomes = (
        Outcome("error", None, f"InputError: {shard}: the file has 10 bytes", facts),
        Outcome("crashed", None, "killed by SIGBUS", facts),
    )
    for outcome in outcomes:
        assert verifier._read(outcome, tmp_path, None, 7).result["status"] == "failed"
    shard.write_bytes(shard.read_bytes()[:-100])
    for outcome in outcomes:
        with pytest.raises(TrialLost, match=r"train\.bin: the file has") as lost:
            verifier._read(outcome, tmp_path, None, 7)
        assert lost.value.device_s == 3.0
    own = Outcome("error", None, "ValueError: of the design", facts)
    assert verifier._read(own, tmp_path, None, 7).result["status"] == "failed"


def test_a_trial_that_fails_leaves_the_curve_that_it_told(tmp_path):
    scratch = tmp_path / "scratch" / "verify-7"
    scratch.mkdir(parents=True)
    LiveCurve(scratch).write([(512.0, 6.5), (1024.0, 6.25)])
    settings = VerifySettings(0, tmp_path, (), {"options": {}}, [], Limits())
    trials = Trials(PluginHost(), None, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings, tmp_path)
    assert verifier.curve(7) == [(512.0, 6.5), (1024.0, 6.25)]
    ended = Outcome("timeout", None, "it took more than 60 s")
    diverged = Outcome("ok", {"status": "failed", "reason": "the training loss is inf"})
    for outcome in (ended, diverged):
        result = verifier._read(outcome, scratch, None, 7).result
        assert result["status"] == "failed"
        assert result["curve"] == [(512.0, 6.5), (1024.0, 6.25)]
        assert result["tokens"] == 1024
    assert verifier.curve(8) == []
