"""The executor `slurm` on a real Slurm of one node, which is started for these tests.

apt-get install slurm-wlm munge; pytest -m slurm      (as root)
"""

import importlib.util
import os
import sys
import time
from pathlib import Path

import commands
import pytest
from waiting import until

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.kept_job import note_folder
from genesys_engine.plugins.executors.slurm import SlurmExecutor
from genesys_engine.plugins.executors.slurm_options import SlurmOptions
from genesys_engine.plugins.targets import build

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "experiments" / "bench" / "slurm_one_node.py"
TARGET = "genesys_engine.plugins.executors.slurm:SlurmExecutor"
OPTIONS = {"preload": [], "memory": "1G", "partition": "work", "poll_s": 0.5}
LIMITS = Limits(wall_s=600.0)
PATIENCE_S = 240.0
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

spec = importlib.util.spec_from_file_location("slurm_one_node", SCRIPT)
slurm_one_node = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slurm_one_node)
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.exhaustive,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(slurm_one_node.lacking()), reason=slurm_one_node.lacking() or "-"),
]


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory):
    with slurm_one_node.one_node_slurm(tmp_path_factory.mktemp("one-node") / "slurm"):
        yield


@pytest.fixture
def opened():
    """Open executors that are closed whatever happens."""
    executors = []

    def make(**options):
        executors.append(build(TARGET, {**OPTIONS, **options}, workers=2))
        return executors[-1]

    yield make
    for executor in executors:
        executor.close()


def state(scratch):
    """Return the number and the state of the job with this folder."""
    found = [job for job in slurm_one_node.jobs() if f"genesys-{scratch.name}-" in job[1]]
    return (found[-1][0], found[-1][2]) if found else ("", "")


def at_work(scratch):
    """Whether the job has left its training checkpoint."""
    return (note_folder(scratch) / "home" / scratch.name / "of-this-start").exists()


def test_jobs_run_on_a_node_and_are_named_in_the_queue(opened, tmp_path):
    scratch = tmp_path / "verify-1"
    outcome = opened().submit("slurm_jobs:slow", {"seconds": 0.0}, scratch, LIMITS)
    assert outcome.result(PATIENCE_S).status == "ok"
    assert outcome.result().facts["node"]
    assert (scratch / "left.txt").read_text() == "left"
    until(lambda: state(scratch)[1] == "COMPLETED")


def test_a_deadline_is_the_job_s_own_fault(opened, tmp_path):
    slow = opened().submit("slurm_jobs:slow", {"seconds": 600}, tmp_path / "a", Limits(2.0))
    assert slow.result(PATIENCE_S).status == "timeout"


def test_a_job_that_somebody_cancels_is_the_machine_s_fault(opened, tmp_path):
    scratch = tmp_path / "verify-2"
    future = opened().submit("slurm_jobs:trained", {"seconds": 60.0}, scratch, LIMITS)
    until(lambda: at_work(scratch))
    commands.run(["scancel", state(scratch)[0]], check=True)
    outcome = future.result(PATIENCE_S)
    assert outcome.status == "infrastructure"
    assert "Slurm ended the job on node" in outcome.reason
    assert (scratch / "training.safetensors").exists(), "what it continues from"
    assert not note_folder(scratch).exists()


def test_a_preempted_job_is_requeued_and_continues(opened, tmp_path):
    scratch = tmp_path / "verify-3"
    future = opened().submit("slurm_jobs:trained", {}, scratch, LIMITS)
    until(lambda: at_work(scratch))
    urgent = ["sbatch", "--partition=urgent", "--exclusive", "--mem=0", "--output=/dev/null"]
    commands.run([*urgent, "--wrap=sleep 2"], check=True)
    until(lambda: state(scratch)[1] != "RUNNING")
    outcome = future.result(PATIENCE_S)
    assert outcome.value["resumed"] == "so far"


def test_time_that_is_too_short_is_said(opened, tmp_path):
    future = opened(time="1", requeues=0).submit(
        "slurm_jobs:trained", {}, tmp_path / "verify-4", LIMITS
    )
    outcome = future.result(PATIENCE_S)
    assert outcome.status == "infrastructure"
    assert "[executor] time" in outcome.reason


def test_an_unknown_partition_is_refused_with_those_that_there_are():
    with pytest.raises(EnvironmentProblem) as raised:
        SlurmExecutor(SlurmOptions(partition="nope"), workers=1)
    assert raised.value.where == "[executor] partition = 'nope'"
    assert "work" in raised.value.hint
    assert "urgent" in raised.value.hint


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"memory": "90T"}, "cpus"),
        ({"gpus": 4}, "gpus"),
        ({"constraint": "fast"}, "constraint"),
        ({"cpus": 999}, "cpus"),
    ],
)
def test_what_no_node_has_is_refused_before_anything_runs(wrong, option):
    with pytest.raises(EnvironmentProblem) as raised:
        SlurmExecutor(SlurmOptions(partition="work", **wrong), workers=1)
    assert raised.value.where.split()[1] == option


def test_a_job_that_would_wait_for_ever_is_taken_back(opened, tmp_path):
    scratch = tmp_path / "verify-5"
    future = opened(time="5:00:00").submit("slurm_jobs:slow", {}, scratch, LIMITS)
    with pytest.raises(EnvironmentProblem) as raised:
        future.result(PATIENCE_S)
    assert raised.value.where == "[executor] time = '5:00:00'"
    assert state(scratch)[1] == "CANCELLED"
    assert not note_folder(scratch).exists()


def test_a_queued_job_can_be_taken_back_and_closing_leaves_none(opened, tmp_path):
    running, queued = tmp_path / "verify-6", tmp_path / "verify-7"
    executor = opened(memory="5G")
    first = executor.submit("slurm_jobs:trained", {}, running, LIMITS)
    until(lambda: at_work(running) and first.running())
    second = executor.submit("slurm_jobs:trained", {}, queued, LIMITS)
    until(lambda: state(queued)[1] == "PENDING")
    assert second.cancel()
    until(lambda: state(queued)[1] == "CANCELLED")
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 40
    assert first.result(1).status == "infrastructure"
    assert state(running)[1] not in ("RUNNING", "COMPLETING", "PENDING")
    assert (running / "training.safetensors").exists()
    assert not list(tmp_path.glob("*-job"))


def test_no_key_of_the_engine_is_in_a_job_and_setup_lines_are(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    written = tmp_path / "environment"
    setup = ["export FROM_SETUP=here", f"srun --export=ALL env > {written}"]
    future = opened(setup=setup).submit(
        "slurm_jobs:slow", {"seconds": 0.0}, tmp_path / "verify-8", LIMITS
    )
    assert future.result(PATIENCE_S).status == "ok"
    text = written.read_text()
    assert "SOME_API_KEY" not in text
    assert "FROM_SETUP=here" in text
    assert f"PATH={os.environ['PATH']}" in text
