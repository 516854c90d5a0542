"""A killed verification goes on from what it had trained; one that fails keeps its curve."""

import json
import time
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext

import pytest
from verification_support import PRELOAD

from genesys_engine.engine.evaluate.verification import EVALUATE, TRAIN, TrialLost
from genesys_engine.engine.evaluate.verifier import RungSettings, Verifier, VerifySettings, tidy
from genesys_engine.engine.jobs.task_result import InfrastructureFailure
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec, Trial
from genesys_engine.engine.train.placement import Trials
from genesys_engine.engine.train.trained import NOTE
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.corpus import TRAINING_FILES
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing import samples
from genesys_engine.plugins.testing.recorded import RecordedExecutor
from genesys_engine.plugins.trainers.live_curve import LiveCurve
from genesys_engine.plugins.trainers.session import TRAINING

BASE = "genesys_engine.plugins"
MODEL = ModelConfig(32, 1, samples.VOCABULARY, 64)
TRIAL = Trial(0, "digest", 0, "0.2M", 0)
HELDOUT = ComponentSpec(f"{BASE}.evaluators.heldout:HeldoutEvaluator", {"windows": 8}, "heldout")
OPTIONS = ProcessOptions(preload=PRELOAD)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return samples.tiny_corpus(tmp_path_factory.mktemp("cache"))


def settings_of(corpus, tokens=80_000):
    trained = tuple(str(corpus.folder / name) for name in TRAINING_FILES)
    return VerifySettings(
        0,
        corpus.folder,
        (RungSettings("0.2M", 64, tokens, 512, 3e-3),),
        ComponentSpec(f"{BASE}.trainers.pytorch:TorchTrainer", {"checkpoint_every_s": 0.05}),
        {"0.2M": (HELDOUT,)},
        Limits(wall_s=250, readable=trained),
        Limits(wall_s=250, readable=(str(corpus.folder),)),
    )


def begun(executor, settings, folder, seq=7):
    """Begin a verification as a run does."""
    trials = Trials(PluginHost(), executor, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings, folder)
    job = verifier.job(samples.small_source(), MODEL, 0, 0)
    return verifier.start(seq, job, "kept", TRIAL)


def wait_for(path, running):
    while not path.exists():
        assert not running.done(), "it ended before it could be killed"
        time.sleep(0.005)


@pytest.mark.slow
def test_what_was_trained_before_a_kill_is_not_trained_again(corpus, tmp_path):
    settings, state = settings_of(corpus), tmp_path / "scratch" / "verify-7" / TRAINING
    executor = ProcessExecutor(OPTIONS, workers=1)
    running = begun(executor, settings, tmp_path)
    wait_for(state, running)
    executor.close()
    with pytest.raises(InfrastructureFailure):
        running.result(timeout=250)
    assert [path.name for path in state.parent.iterdir()] == [TRAINING]

    executor = ProcessExecutor(OPTIONS, workers=1)
    try:
        again = begun(executor, settings, tmp_path).result(timeout=250)
        fresh = begun(executor, settings, tmp_path, 8).result(timeout=250)
    finally:
        executor.close()
    assert again.facts["resumed_at_step"] > 0 == fresh.facts["resumed_at_step"]
    assert again.result == fresh.result
    assert not list((tmp_path / "scratch").iterdir())


class Targets:
    """Notes which jobs an executor is given."""

    workers = 1

    def __init__(self, executor):
        self.executor, self.given = executor, []

    def submit(self, target, *job):
        self.given.append(target)
        return self.executor.submit(target, *job)


def test_a_count_that_the_checkpoint_does_not_bear_out_is_a_failure(corpus, tmp_path):
    settings = settings_of(corpus, tokens=3_000)
    executor = ProcessExecutor(OPTIONS, workers=1)
    trials = Trials(PluginHost(), executor, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings, tmp_path)
    job = verifier.job(samples.small_source(), MODEL, 0, 0)
    try:
        plain = verifier.start(0, job, None, TRIAL).result(timeout=250).result
        right, wrong = (
            verifier.start(n, job, None, TRIAL, parameters=plain.parameters - n % 2).result(250)
            for n in (2, 3)
        )
    finally:
        executor.close()
    assert (right.result.status, right.result.parameters) == ("ok", plain.parameters)
    assert (wrong.result.status, wrong.result.cause) == ("failed", "contradicted")
    assert f"{plain.parameters - 1:,}" in wrong.result.reason


@pytest.mark.slow
def test_killed_between_its_jobs_it_goes_on_with_the_evaluation(corpus, tmp_path):
    settings = settings_of(corpus, tokens=20_000)
    kept = tmp_path / "scratch" / "verify-7-trained"
    executor = ProcessExecutor(OPTIONS, workers=1)
    running = begun(executor, settings, tmp_path)
    wait_for(kept / NOTE, running)
    executor.close()
    with pytest.raises(InfrastructureFailure):
        running.result(timeout=250)
    tidy(tmp_path / "scratch")  # as a run does that is stopped
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [kept.name]

    executor = ProcessExecutor(OPTIONS, workers=1)
    try:
        again = begun(first := Targets(executor), settings, tmp_path).result(timeout=250)
        fresh = begun(second := Targets(executor), settings, tmp_path, 8).result(timeout=250)
    finally:
        executor.close()
    assert (first.given, second.given) == ([EVALUATE], [TRAIN, EVALUATE])
    assert again.result == fresh.result
    assert again.facts["device_s"] > again.facts["train_s"], "both jobs count"
    assert not list((tmp_path / "scratch").iterdir())


def test_what_is_kept_of_another_training_is_not_evaluated(tmp_path):
    """A folder that is not of this design, or not whole, is trained anew."""
    executor = RecordedExecutor(workers=0, fail=0)
    settings = VerifySettings(
        0,
        tmp_path,
        (RungSettings("0.2M", 64, 1000, 100, 1e-3),),
        ComponentSpec("a:B", {}),
        {"0.2M": ()},
        Limits(),
        Limits(),
    )
    kept = tmp_path / "scratch" / "verify-7-trained"
    for note in ("{", json.dumps({"identity": "another", "reply": {"status": "ok"}, "facts": {}})):
        kept.mkdir(parents=True)
        (kept / "model.safetensors").write_bytes(b"")
        (kept / NOTE).write_text(note)
        assert begun(executor, settings, tmp_path).result().result.status == "ok"
    assert executor.calls["train"] == executor.calls["evaluate"] == 2


class Answering:
    """An executor whose next job is answered by hand."""

    workers = 1

    def __init__(self):
        self.job = None

    def submit(self, target, payload, scratch, limits):
        self.target, self.scratch, self.job = target, scratch, Future()
        return self.job


@pytest.fixture
def answering():
    return Answering()


def result_of(executor, settings, folder, *outcomes):
    running = begun(executor, settings, folder)
    for outcome in outcomes:
        executor.job.set_result(outcome)
    return running.result(timeout=250)


def test_a_corpus_that_cannot_be_read_is_no_fault_of_the_design(tmp_path, answering):
    """And a job that only says so is not believed."""
    corpus = samples.tiny_corpus(tmp_path / "cache")
    settings = settings_of(corpus)
    shard = corpus.folder / "train.bin"
    facts = {"wall_s": 3.0}
    outcomes = (
        Outcome("error", None, f"InputError: {shard}: the file has 10 bytes", facts),
        Outcome("crashed", None, "killed by SIGBUS", facts),
    )
    for outcome in outcomes:
        assert result_of(answering, settings, tmp_path, outcome).result.status == "failed"
    shard.write_bytes(shard.read_bytes()[:-100])
    for outcome in outcomes:
        with pytest.raises(TrialLost, match=r"train\.bin: the file has") as lost:
            result_of(answering, settings, tmp_path, outcome)
        assert lost.value.device_s == 3.0
    own = Outcome("error", None, "ValueError: of the design", facts)
    assert result_of(answering, settings, tmp_path, own).result.status == "failed"


def test_a_trial_that_fails_leaves_the_curve_that_it_told(corpus, tmp_path, answering):
    ended = Outcome("timeout", None, "it took more than 60 s")
    diverged = Outcome("ok", {"status": "failed", "reason": "the training loss is inf"})
    for outcome in (ended, diverged):
        running = begun(answering, settings_of(corpus), tmp_path)
        LiveCurve(answering.scratch).write([(512.0, 6.5), (1024.0, 6.25)])
        answering.job.set_result(outcome)
        result = running.result(timeout=250).result
        assert result.status == "failed"
        assert result.curve == ((512.0, 6.5), (1024.0, 6.25))
        assert result.tokens == 1024


def trained(executor, running):
    """Answer the training job as one that left weights."""
    (executor.scratch / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    reply = {"status": "ok", "curve": [(5.0, 6.0)], "tokens": 5, "checkpoint": "model.safetensors"}
    executor.job.set_result(Outcome("ok", reply, facts={"wall_s": 2.0, "max_rss_bytes": 9}))
    assert executor.target == EVALUATE, running


def test_an_evaluation_that_fails_is_told_with_what_was_trained(corpus, tmp_path, answering):
    running = begun(answering, settings_of(corpus), tmp_path)
    trained(answering, running)
    failed = {"wall_s": 1.0, "max_rss_bytes": 4}
    answering.job.set_result(Outcome("crashed", None, "killed by SIGSEGV", failed))
    done = running.result(timeout=250)
    assert (done.result.cause, done.result.tokens) == ("crashed", 5)
    assert done.result.curve == ((5.0, 6.0),)
    assert (done.facts["device_s"], done.facts["max_rss_bytes"]) == (3.0, 9)
    assert not list((tmp_path / "scratch").iterdir())


def test_an_evaluation_that_is_lost_costs_no_training(corpus, tmp_path, answering):
    """What the training cost is counted with the result, once."""
    running = begun(answering, settings_of(corpus), tmp_path)
    trained(answering, running)
    answering.job.set_result(Outcome("infrastructure", None, "no room", {"wall_s": 1.0}))
    with pytest.raises(TrialLost) as lost:
        running.result(timeout=250)
    assert lost.value.device_s == 1.0
    again = begun(answering, settings_of(corpus), tmp_path)
    assert answering.target == EVALUATE
    score = {"value": 2.0, "higher_is_better": False, "n": 3}
    reply = {"status": "ok", "scores": {"bits_per_byte": score}}
    answering.job.set_result(Outcome("ok", reply, facts={"wall_s": 1.5}))
    done = again.result(timeout=250)
    assert (done.result.status, done.facts["device_s"]) == ("ok", 3.5)
    assert (tmp_path / "checkpoints" / "kept").is_file()


def test_a_training_without_weights_is_a_bad_reply(corpus, tmp_path, answering):
    for name in ("model.safetensors", "../../x"):
        reply = {"status": "ok", "checkpoint": name}
        done = result_of(answering, settings_of(corpus), tmp_path, Outcome("ok", reply))
        assert done.result.cause == "bad_reply", name


def test_what_waits_can_be_taken_back(corpus, tmp_path):
    executor = RecordedExecutor(workers=1, delay_s=0.3)
    trials = Trials(PluginHost(), executor, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings_of(corpus), tmp_path)
    job = verifier.job(samples.small_source(), MODEL, 0, 0)
    first, second = (verifier.start(seq, job, None, TRIAL) for seq in (1, 2))
    assert second.cancel()
    assert not first.cancel()
    with pytest.raises(CancelledError):
        second.result(timeout=250)
    assert first.result(timeout=250).result.status == "ok"
    executor.close()
