"""The executor `slurm` without Slurm: its options, and real jobs in submitit's local mode."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import commands
import pytest
from pydantic import ValidationError
from waiting import until

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.kept_job import NOTE, OUTCOME, note_folder
from genesys_engine.plugins.executors.slurm_cluster import refusal, state_of
from genesys_engine.plugins.executors.slurm_ends import verdict
from genesys_engine.plugins.executors.slurm_options import SlurmOptions, minutes_of
from genesys_engine.plugins.targets import build

HERE = Path(__file__).parent
TARGET = "genesys_engine.plugins.executors.slurm:SlurmExecutor"
LOCAL = {"mode": "local", "preload": []}
LIMITS = Limits(wall_s=300.0)
PATIENCE_S = 120.0
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # nodes search where we do

# Submits a job, says when it runs, and waits to be killed.
COORDINATOR = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.targets import build
executor = build({target!r}, {options!r}, workers=1)
executor.submit({job!r}, {payload!r}, Path({scratch!r}), Limits(wall_s=300.0)).result()
"""


@pytest.fixture
def opened():
    """Open executors that are closed whatever happens."""
    executors = []

    def make(workers=1, **options):
        executors.append(build(TARGET, {**LOCAL, **options}, workers=workers))
        return executors[-1]

    yield make
    for executor in executors:
        executor.close()


def home(scratch):
    return Path(json.loads((note_folder(scratch) / NOTE).read_text())["home"])


def runs(scratch):
    """Whether the job with this folder is at its work: it leaves a file first."""
    work = note_folder(scratch) / "home" / scratch.name
    return any((work / name).exists() for name in ("left.txt", "of-this-start"))


def killed_coordinator(scratch, job, payload, **options):
    """Have another process submit a job, and kill it when that runs."""
    code = COORDINATOR.format(
        here=str(HERE), target=TARGET, options={**LOCAL, **options}, job=job, payload=payload,
        scratch=str(scratch),
    )  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        until(lambda: runs(scratch), PATIENCE_S)
        process.kill()


def processes_of(scratch):
    """The processes that name the folder of a job, whoever started them."""
    said = commands.run(["ps", "-eww", "-o", "pid=,args="], check=True)
    return [line for line in said.stdout.splitlines() if f"{scratch.name}-job" in line]


def task_process(scratch):
    """The process that runs the job, which submitit would signal."""
    (line,) = [line for line in processes_of(scratch) if "submitit.core._submit" in line]
    return int(line.split()[0])


# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:30:00", 90),
        ("2-0", 2880),
        ("1-02:03", 1563),
        ("1-02:03:04", 1564),
    ],
)
def test_times_are_written_as_slurm_does(time, minutes):
    assert minutes_of(time) == minutes


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "soon"},
        {"time": "0"},
        {"time": "1:2:3:4"},
        {"memory": "much"},
        {"gpus": -1},
        {"checks": "there"},
        {"nodes": 2},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        SlurmOptions(**wrong)


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("sbatch: error: invalid partition specified: nope", "partition"),
        ("sbatch: error: Invalid account or account/partition combination specified", "partition"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", "qos"),
        ("sbatch: error: Requested time limit is invalid (missing or exceeds some limit)", "time"),
        ("sbatch: error: Memory specification can not be satisfied", "memory"),
        ("sbatch: error: Invalid generic resource (gres) specification", "gpus"),
        ("sbatch: error: Batch job submission failed: Invalid feature specification", "constraint"),
    ],
)
def test_a_refusal_names_the_option(said, option):
    problem = refusal(said, SlurmOptions(partition="nope"))
    assert problem.where.split()[:2] == ["[executor]", option]
    assert "sbatch: error" not in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    ("word", "reason", "phase", "held"),
    [
        ("PENDING", "Priority", "waiting", False),
        ("PENDING", "launch_failed_requeued_held", "waiting", True),
        ("PENDING", "launch failed requeued held", "waiting", True),
        ("REQUEUE_HOLD", "None", "waiting", True),
        ("COMPLETING", "None", "running", False),
        ("CANCELLED by 1000", "None", "ended", False),
        ("OUT_OF_MEMORY", "None", "ended", False),
    ],
)
def test_the_states_of_slurm_are_three(word, reason, phase, held):
    state = state_of(word, reason, "node7")
    assert (state.phase, state.is_held) == (phase, held)


@pytest.mark.parametrize(
    ("word", "before", "status"),
    [
        ("TIMEOUT", 0, "infrastructure"),
        ("NODE_FAIL", 0, "infrastructure"),
        ("FAILED", 0, "infrastructure"),
        ("CANCELLED by 1000", 0, "infrastructure"),
        ("OUT_OF_MEMORY", 1, "infrastructure"),
        ("OUT_OF_MEMORY", 2, "memory"),
    ],
)
def test_only_memory_is_the_design_s_fault_and_only_twice(word, before, status):
    outcome = verdict(state_of(word, "", "node7"), "node7", "its last words", before)
    assert outcome.status == status
    assert "node7" in outcome.reason
    assert ("[executor] time" in outcome.reason) == (word == "TIMEOUT")


def test_without_slurm_it_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem) as raised:
        build(TARGET, {}, workers=1)
    assert raised.value.where == "[executor] mode"
    assert "sbatch" in raised.value.message


def test_without_submitit_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(EnvironmentProblem) as raised:
        build(TARGET, LOCAL, workers=1)
    assert "genesys-engine[slurm]" in raised.value.hint


# --- jobs that outlive the coordinator -------------------------------------------------------


@pytest.mark.parametrize("then", ["while it runs", "when it has ended", "before it was numbered"])
def test_a_job_of_a_killed_coordinator_is_not_run_again(opened, tmp_path, then):
    scratch, payload = tmp_path / "verify-3", {"seconds": 4.0}
    killed_coordinator(scratch, "slurm_jobs:slow", payload)
    if then == "when it has ended":
        until(lambda: (home(scratch) / OUTCOME).exists(), PATIENCE_S)
    if then == "before it was numbered":
        note = note_folder(scratch) / NOTE
        note.write_text(json.dumps({**json.loads(note.read_text()), "number": ""}))
    now = time.time()
    outcome = opened().submit("slurm_jobs:slow", payload, scratch, LIMITS).result(PATIENCE_S)
    assert outcome.status == "ok"
    assert outcome.value["began"] < now
    assert (scratch / "left.txt").read_text() == "left"
    assert note_folder(scratch).is_dir(), "kept until its result is durable"


@pytest.mark.exhaustive
def test_a_job_that_is_asked_something_else_takes_the_place_of_the_old_one(opened, tmp_path):
    scratch = tmp_path / "verify-3"
    killed_coordinator(scratch, "slurm_jobs:slow", {"seconds": 600.0})
    executor = opened()
    other = executor.submit("slurm_jobs:slow", {"seconds": 0.0}, scratch, LIMITS)
    assert other.result(PATIENCE_S).status == "ok"
    executor.close()
    until(lambda: not processes_of(scratch), PATIENCE_S)


def test_jobs_may_be_left_running_and_are_collected_later(opened, tmp_path):
    scratch, payload = tmp_path / "verify-3", {"seconds": 6.0}
    first = opened(stop="leave")
    future = first.submit("slurm_jobs:slow", payload, scratch, LIMITS)
    until(lambda: runs(scratch), PATIENCE_S)
    time.sleep(1.0)  # the executor has seen it too
    assert future.cancel(), "a run that stops need not wait for it"
    first.close()
    now = time.time()
    again = opened().submit("slurm_jobs:slow", payload, scratch, LIMITS).result(PATIENCE_S)
    assert again.value["began"] < now


# --- ends that are not the job's own ---------------------------------------------------------


def test_a_requeued_job_continues_from_its_training_checkpoint(opened, tmp_path):
    scratch = tmp_path / "verify-3"
    future = opened().submit("slurm_jobs:trained", {}, scratch, LIMITS)
    until(lambda: runs(scratch), PATIENCE_S)
    os.kill(task_process(scratch), signal.SIGUSR2)  # as Slurm does before it takes a node away
    outcome = future.result(PATIENCE_S)
    assert outcome.value["resumed"] == "so far"
    assert "of-this-start" not in outcome.value["others"]


def test_a_killed_job_is_the_machine_s_fault_and_keeps_its_checkpoint(opened, tmp_path):
    scratch = tmp_path / "verify-3"
    executor = opened()
    future = executor.submit("slurm_jobs:trained", {}, scratch, LIMITS)
    until(lambda: runs(scratch), PATIENCE_S)
    number = json.loads((note_folder(scratch) / NOTE).read_text())["number"]
    os.killpg(int(number), signal.SIGKILL)
    outcome = future.result(PATIENCE_S)
    assert outcome.status == "infrastructure"
    assert not note_folder(scratch).exists()
    again = executor.submit("slurm_jobs:trained", {}, scratch, LIMITS).result(PATIENCE_S)
    assert again.value["resumed"] == "so far"


def test_a_result_that_cannot_be_read_is_the_machine_s_fault(opened, tmp_path):
    scratch = tmp_path / "verify-3"
    future = opened().submit("slurm_jobs:slow", {"seconds": 600.0}, scratch, LIMITS)
    until(lambda: runs(scratch), PATIENCE_S)
    (home(scratch) / OUTCOME).write_text('{"status": "ok", "value": [')
    outcome = future.result(PATIENCE_S)
    assert outcome.status == "infrastructure"
    assert OUTCOME in outcome.reason
    assert not note_folder(scratch).exists()


@pytest.mark.exhaustive
def test_a_file_that_the_node_lacks_is_named_with_the_node(opened, tmp_path):
    limits = Limits(wall_s=300.0, readable=(str(tmp_path / "corpus"),))
    outcome = opened().submit("slurm_jobs:slow", {"seconds": 0.0}, tmp_path / "v", limits)
    assert outcome.result(PATIENCE_S).status == "infrastructure"
    assert outcome.result().reason.startswith("node ")
    assert "corpus" in outcome.result().reason


def test_setup_lines_that_fail_end_the_job_and_are_told(opened, tmp_path):
    future = opened(setup=["exit 3"]).submit("slurm_jobs:slow", {}, tmp_path / "v", LIMITS)
    assert future.result(PATIENCE_S).status == "infrastructure"


def test_cancelling_and_closing_leave_nothing(opened, tmp_path):
    running, queued = tmp_path / "verify-1", tmp_path / "verify-2"
    executor = opened(workers=1)
    first = executor.submit("slurm_jobs:trained", {}, running, LIMITS)
    second = executor.submit("slurm_jobs:trained", {}, queued, LIMITS)
    until(lambda: runs(running) and first.running(), PATIENCE_S)
    assert not first.cancel(), "it runs"
    assert second.cancel()
    executor.close()
    assert first.result(1).status == "infrastructure"
    with pytest.raises(CancelledError):
        second.result(1)
    until(lambda: not processes_of(running), PATIENCE_S)
    assert not list(tmp_path.glob("*-job"))
    assert (running / "training.safetensors").read_text() == "so far"
    with pytest.raises(RuntimeError):
        executor.submit("slurm_jobs:trained", {}, queued, LIMITS)
