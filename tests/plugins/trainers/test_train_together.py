"""One design, two processes: torchrun, DDP and gloo give the training of a single process."""

import pytest
from training_support import BLOCK
from verification_support import payload, trained_in, verify

from genesys_engine.plugins.sandbox import SandboxHost, isolation_here


def job_of(corpus, **trainer):
    job = payload(corpus, tokens=4_000, **trainer)
    job["evaluators"] = job["evaluators"][:1]
    return job


@pytest.mark.slow
def test_two_processes_train_as_one(corpus, tmp_path):
    replies = {}
    for processes, micro in ((1, None), (2, 1)):
        folder = tmp_path / str(processes)
        folder.mkdir()
        options = {"processes": processes, "device": "cpu", "micro_batch": micro}
        replies[processes] = verify(job_of(corpus, **options), folder)
        left = {path.name for path in folder.iterdir()}
        assert left == {"model.safetensors", "samples.safetensors"}
    one, two = replies[1], replies[2]
    assert two["facts"]["processes"] == 2
    assert (one["tokens"], one["steps"]) == (two["tokens"], two["steps"])
    for (_, alone), (_, together) in zip(one["curve"], two["curve"], strict=True):
        assert together == pytest.approx(alone, abs=2e-4)
    scores = [reply["scores"]["bits_per_byte"]["value"] for reply in (one, two)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_trial_that_two_processes_end_is_a_failed_one(corpus, tmp_path):
    options = {"processes": 2, "device": "cpu", "explode_factor": 1.0001, "grad_clip": 1e9}
    reply = verify(job_of(corpus, peak_lr=5.0, recipe="published", **options), tmp_path)
    assert reply["status"] == "failed"
    assert "training loss" in reply["reason"]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        ("torch.OutOfMemoryError('CUDA out of memory')", MemoryError, "one sequence of 64 tokens"),
        ("ValueError('mine')", RuntimeError, "ValueError: mine"),
    ],
)
def test_the_team_tells_the_error_of_the_process_that_failed_first(
    corpus, tmp_path, fault, error, told
):
    raising = f"if self.training and os.environ.get('RANK') == '1':\n            raise {fault}\n"
    source = "import os\n" + BLOCK.replace("return X +", raising + "        return X +")
    options = {"processes": 2, "device": "cpu", "activation_checkpointing": "never"}
    with pytest.raises(error, match=told) as caught:
        verify(job_of(corpus, source=source, **options), tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_team_measures_its_pace_against_a_team(corpus, tmp_path):
    options = {"processes": 2, "device": "cpu", "slowest_ratio": 0.001}
    assert verify(job_of(corpus, **options), tmp_path)["status"] == "ok"


@pytest.mark.slow
def test_the_sandbox_refuses_a_team_and_says_what_to_set(corpus, tmp_path):
    if isolation_here("strict").level == "process":
        pytest.skip("this machine offers nothing beyond the level `process`")
    host = SandboxHost(workers=1, preload=("torch",))
    try:
        outcome = trained_in(host, job_of(corpus, processes=2), corpus, tmp_path, wall_s=120)
    finally:
        host.close()
    assert outcome.status == "error"
    assert 'isolation = "process"' in outcome.reason
