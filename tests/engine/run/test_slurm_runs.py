"""Whole runs on the executor `slurm`, in submitit's local mode: the log is that of `process`, and
jobs outlive an engine that is killed."""

import json
import os
import re
import signal
import time

import pytest

from tests.support.engine_process import (
    ask,
    digest,
    engine,
    started,
    write_experiment,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SLURM = ("--set", 'executor.use="slurm"', "--set", 'executor.mode="local"')
FINISHED = (0, 1)
"""Exit codes: it has no child whose verdict could be good."""
FAILS = ("--set", 'executor.setup=["exit 3"]')
"""With these lines no job comes to anything that is submitted from now on."""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """One training on one worker."""
    folder = tmp_path_factory.mktemp("slurm")
    return write_experiment(folder, verifications=1, designs=1, lookahead=1)


@pytest.fixture(scope="module")
def on_process(experiment):
    run = experiment.parent / "process"
    assert engine("run", experiment, "--out", run).code in FINISHED
    return digest(run)


def noted(run, name):
    """Return the note of a job that says that it runs, None before."""
    for note in (run / "scratch").glob(f"{name}-job/note.json"):
        said = json.loads(note.read_text())
        if said["number"] and (note.parent / "home" / "started.json").exists():
            return said
    return None


def wait_for(what, process):
    """Wait until `what` gives something true while a command lives; a node starts in minutes."""
    end = time.monotonic() + 300.0
    while not (found := what()):
        assert process.poll() is None, process.answer()
        assert time.monotonic() < end, "it never came to this"
        time.sleep(0.05)
    return found


def kill_while(experiment, run, job):
    """Start a run and kill it with SIGKILL while a job of this name runs; return its note."""
    with started("run", experiment, "--out", run, *SLURM) as process:
        note = wait_for(lambda: noted(run, job), process)
        process.kill()
        process.wait()
    return note


def test_a_killed_run_is_resumed_and_pays_for_nothing_twice(experiment, on_process):
    """The evaluation runs when the engine is killed, and no new job can succeed: the training is
    the one that was kept, and the evaluation the one that went on.  The audit that follows is a new
    job, and waits for the next `resume`."""
    run = experiment.parent / "killed"
    kill_while(experiment, run, "verify-*-evaluation")
    resumed = engine("resume", run, *FAILS)
    assert resumed.code == 4, resumed.err
    assert ask(run, "SELECT COUNT(*) FROM verifications WHERE fitness IS NOT NULL") == [(1,)]
    last = engine("resume", run, "--set", "executor.setup=[]")  # a run keeps what was set
    assert last.code in FINISHED, last.err
    assert digest(run) == on_process
    assert not list(run.rglob("*-job"))
    places = re.findall(r"(training|evaluation) of task t\d+ runs on node", resumed.err)
    assert places == ["evaluation"]


@pytest.mark.exhaustive
def test_a_training_goes_on_without_the_engine(experiment, on_process):
    run = experiment.parent / "killed-in-training"
    before = kill_while(experiment, run, "verify-[0-9]")
    with started("resume", run) as process:
        after = wait_for(lambda: noted(run, "verify-[0-9]"), process)
        assert after == before, "the same job, by the same number"
        process.wait(300)
        assert process.answer().code in FINISHED, process.answer().err
    assert digest(run) == on_process


@pytest.mark.exhaustive
def test_a_job_that_is_killed_is_run_again(experiment, on_process):
    run = experiment.parent / "job-killed"
    with started("run", experiment, "--out", run, *SLURM) as process:
        note = wait_for(lambda: noted(run, "verify-[0-9]"), process)
        os.killpg(int(note["number"]), signal.SIGKILL)
        process.wait(300)
        assert process.answer().code in FINISHED, process.answer().err
    assert digest(run) == on_process
    assert ask(run, "SELECT COUNT(*) FROM events WHERE kind = 'worker.lost'") == [(1,)]


@pytest.mark.exhaustive
def test_a_design_that_takes_too_long_is_a_timeout_as_on_process(experiment):
    short = ("--set", "executor.timeout_s=0.01")
    runs = {}
    for name, more in (("long-process", ()), ("long-slurm", SLURM)):
        runs[name] = experiment.parent / name
        engine("run", experiment, "--out", runs[name], *short, *more)
    causes = "SELECT status, reason FROM verifications"
    assert ask(runs["long-slurm"], causes) == ask(runs["long-process"], causes)
    assert digest(runs["long-slurm"]) == digest(runs["long-process"])


def test_without_slurm_a_run_is_refused_before_anything_is_prepared(experiment, monkeypatch):
    monkeypatch.setenv("PATH", "")
    refused = engine("run", experiment, "--out", experiment.parent / "none", *SLURM[:2])
    refused.refused(4, "no sbatch", "[executor] mode", 'mode = "local"')
