"""What befalls a run from outside: workers that die, Ctrl-C, kill -9, a cap, a full disk.

Every run here is the same experiment, so that each must end with the event digest of the one
that was left alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import commands
import pytest
from engine_process import (
    Answer,
    Engine,
    ask,
    descendants,
    digest,
    ended,
    engine,
    gone,
    here,
    interrupt,
    started,
    template,
    verifying,
    wait_for,
    write_experiment,
)

from genesys_engine.engine.jobs.task_result import InfrastructureFailure, refuse_infrastructure
from genesys_engine.engine.train.trained import is_trained
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.sandbox import isolation_here
from genesys_engine.plugins.trainers.session import TRAINING

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

TRAININGS = 3  # of the seed and of each of its children
KEPT = {"arrays.zarr", "checkpoints", "experiment.toml", "lock", "report.html", "run.sqlite"}
WAITING = {"samples"}  # of verifications that have ended and not yet entered the run
TABLES = ("meta", "tasks", "designs", "verifications", "events")
UNPAID = "SELECT seq FROM tasks WHERE kind = 'verify' AND finished_at IS NULL"
PAID = "SELECT seq, finished_at FROM tasks WHERE kind = 'verify' AND finished_at IS NOT NULL"
TWICE = "SELECT 1 FROM verifications GROUP BY design, rung, replicate HAVING COUNT(*) > 1"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(experiment: Path) -> Path:
    """A run that nothing befell."""
    run = experiment.parent / "whole"
    answer = engine("run", experiment, "--out", run, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)  # progress is on stderr, so stdout is one object
    assert told["data"]["report"] == str(run / "report.html")
    assert f"finished: {TRAININGS} designs, {TRAININGS} verifications" in answer.err
    return run


def settled(run: Path, whole: Path) -> None:
    """Check that a disturbed run ended as the whole one: same log, nothing done twice."""
    assert digest(run) == digest(whole)
    assert ask(run, TWICE) == []
    assert len(ask(run, "SELECT id FROM verifications")) == TRAININGS
    assert len(list((run / "checkpoints").iterdir())) == TRAININGS


def rests(run: Path) -> set[str]:
    """Return what lies in a run's folder beside what always does (and SQLite's own files)."""
    names = {entry.name for entry in run.iterdir()}
    return names - KEPT - {"run.sqlite-shm", "run.sqlite-wal", "run.sqlite.backup"}


def resumable(scratch: Path) -> bool:
    """Tell whether a scratch folder holds a training's checkpoint, or a training that has ended."""
    names = {entry.name for entry in scratch.iterdir()}
    return names == {TRAINING} or is_trained(scratch)


def between(run: Path, process: Engine) -> dict[int, int]:
    """Wait until one verification is paid for and another under way; return those."""
    return wait_for(lambda: verifying(process) if ask(run, PAID) else {}, process)


def test_a_finished_run_is_left_alone(whole: Path, experiment: Path) -> None:
    assert rests(whole) == set()
    assert {entry.name for entry in whole.iterdir()} >= KEPT
    before = [ask(whole, f"SELECT * FROM {table}") for table in TABLES]
    here("run", experiment, "--out", whole).refused(2, str(whole), "genesys-engine resume")
    here("resume", whole).refused(2, "is finished", f"leaderboard {whole}")
    more = here("resume", whole, "--set", "budget.designs=9")
    more.refused(2, "7 more designs cannot be verified", "--set ladder.rungs.0.verifications=10")
    here("resume", whole, "--set", "run.seed=9").refused(2, "run.seed")
    assert [ask(whole, f"SELECT * FROM {table}") for table in TABLES] == before


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    here("resume", tmp_path).refused(2, f"{tmp_path}: no run here")
    here("resume", tmp_path / "none").refused(2, "no run here")
    assert list(tmp_path.iterdir()) == []


def test_workers_that_die_are_replaced(whole: Path, experiment: Path) -> None:
    run = experiment.parent / "workers"
    with started("run", experiment, "--out", run) as process:
        workers = wait_for(lambda: verifying(process), process)
        os.kill(next(iter(workers.values())), signal.SIGKILL)
        between(run, process)
        os.kill(template(process), signal.SIGKILL)
        answer = ended(process)
    assert answer.code == 0, answer.err
    assert answer.err.splitlines()[-1].startswith("Best design: ")
    assert str(run / "report.html") in answer.err.splitlines()[-1]
    assert answer.out == ""
    settled(run, whole)


@pytest.mark.exhaustive
def test_a_worker_that_is_killed_again_and_again_is_not_the_design_s_fault(
    whole: Path, experiment: Path
) -> None:
    """The run stops at last, as where the machine is at fault, and goes on when it is resumed."""
    if not isolation_here().seccomp:
        pytest.skip("without a filter on system calls a job may have killed itself")
    run, killed = experiment.parent / "killed", set()
    with started("run", experiment, "--out", run) as process:
        (victim,) = list(wait_for(lambda: verifying(process), process))[:1]
        while process.poll() is None:
            pid = verifying(process).get(victim)
            if pid is not None and pid not in killed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.01)
        answer = ended(process)
    assert answer.code == 4, answer.err
    assert f"genesys-engine resume {run}" in answer.err
    assert 4 <= len(killed) <= 10, "no endless loop"
    assert not ask(run, "SELECT seq FROM verifications WHERE status != 'ok'")
    assert engine("resume", run).code == 0
    settled(run, whole)


def test_ctrl_c_finishes_what_is_under_way_and_a_cap_on_time_stops_before_anything(
    whole: Path, experiment: Path
) -> None:
    run = experiment.parent / "stopped"
    with started("run", experiment, "--out", run, "--set", "run.workers=1") as process:
        (under_way,) = between(run, process)
        interrupt(process)
        answer = ended(process)
    assert answer.code == 130, answer.err
    assert "Ctrl-C again" in answer.err
    assert f"genesys-engine resume {run}" in answer.err.splitlines()[-1]
    paid, unpaid = dict(ask(run, PAID)), ask(run, UNPAID)
    assert under_way in paid
    assert unpaid, "what had not begun was not begun"
    assert "scratch" not in rests(run)

    capped = here("resume", run, "--set", "budget.wall_hours=1e-6")
    assert capped.code == 5, capped.err
    last = capped.err.splitlines()[-1]
    assert "stopped (budget.wall_hours)" in last
    assert f"genesys-engine resume {run} --set budget.wall_hours=" in last
    assert ask(run, UNPAID) == unpaid, "nothing was begun beyond the cap"

    again = here("resume", run)
    assert (again.code, ask(run, UNPAID)) == (5, unpaid), "what was set holds from then on"
    assert "wall hours" in here("status", run).out
    (kept,) = ask(run, "SELECT value FROM meta WHERE key = 'sets'")[0]
    assert json.loads(kept) == ["run.workers=1", "budget.wall_hours=1e-6"]

    assert engine("resume", run, "--set", "budget.wall_hours=1").code == 0
    assert dict(ask(run, PAID)).items() >= paid.items()
    settled(run, whole)


@pytest.mark.exhaustive
def test_a_corpus_that_was_damaged_meanwhile_is_noticed_and_made_again(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    assert engine("run", experiment, "--out", run, "--set", "budget.wall_hours=1e-6").code == 5
    (shard,) = tmp_path.glob("cache/corpora/corpus-*/train.bin")
    shard.write_bytes(b"\0\0" + shard.read_bytes()[2:])  # of the same size
    answer = engine("resume", run)
    answer.refused(2, str(shard), "differs from what was prepared", "delete this folder")
    shutil.rmtree(shard.parent)
    assert engine("resume", run).code == 5
    assert shard.exists()


def test_nothing_survives_a_kill_or_a_second_ctrl_c_and_nothing_is_done_twice(
    whole: Path, experiment: Path
) -> None:
    run = experiment.parent / "killed-once"
    with started("run", experiment, "--out", run) as process:
        between(run, process)
        process.send_signal(signal.SIGSTOP)  # else it may be at its end before the second looks
        second = engine("resume", run)
        holder = f"another process is working in this folder (process {process.pid})"
        second.refused(4, str(run), holder)
        assert re.search(r"state +running", here("status", run).out)
        paid, below = dict(ask(run, PAID)), descendants(process.pid)
        process.kill()
        process.wait()
        assert gone(below)
    told = here("status", run).out
    assert re.search(r"state +killed", told)
    assert f"genesys-engine resume {run}" in told

    with started("resume", run) as process:
        wait_for(lambda: verifying(process) or not ask(run, UNPAID), process)
        below = descendants(process.pid)
        interrupt(process)
        wait_for(lambda: "Ctrl-C again" in process.answer().err, process)
        interrupt(process)
        answer = ended(process)
        assert gone(below)
    answer.refused(130, "interrupted", f"genesys-engine resume {run}")
    assert rests(run) <= WAITING | {"scratch"}
    assert all(map(resumable, run.glob("scratch/*"))), (
        "nothing is left but what resume goes on from"
    )
    assert dict(ask(run, PAID)).items() >= paid.items()

    answer = engine("resume", run)
    assert answer.code == 0, answer.err
    assert dict(ask(run, PAID)).items() >= paid.items()
    settled(run, whole)


def test_an_engine_killed_while_its_workers_start_leaves_none(experiment: Path) -> None:
    run = experiment.parent / "early"
    with started("run", experiment, "--out", run) as process:
        wait_for(lambda: descendants(process.pid), process)
        below = descendants(process.pid)
        process.kill()
        process.wait()
        assert gone(below)


# A disk that nobody else sees: a tmpfs in a mount namespace of its own, made larger later on.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs {disk} || exit 77
{python} -m genesys_engine run {file} --out {disk}/run > {disk}.out 2> {disk}.err
echo $? > {disk}.code
ls {disk} > {disk}.list
test -e {disk}/run || exit 0
mount -o remount,size=200m {disk}
{python} -m genesys_engine resume {disk}/run > {disk}.again 2>&1
echo $? >> {disk}.again
cp -r {disk}/run {disk}.copy
"""


def on_a_small_disk(file: Path, disk: Path, size: str) -> Answer:
    """Run where the disk is soon full, and resume, if there is a run, once there is room."""
    disk.mkdir()
    script = ON_A_SMALL_DISK.format(size=size, disk=disk, file=file, python=sys.executable)
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    done = commands.run(["unshare", "-Urm", "sh", "-c", script], check=False)
    out, err, code = (disk.with_suffix(f".{name}") for name in ("out", "err", "code"))
    if not code.exists():
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    return Answer(int(code.read_text()), out.read_text(), err.read_text())


def test_a_disk_that_is_full_at_once_leaves_no_folder(experiment: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    answer = on_a_small_disk(experiment, disk, "48k")
    answer.refused(4, "disk is full", "make room on the disk")
    assert disk.with_suffix(".list").read_text() == ""


@pytest.mark.exhaustive
def test_a_disk_that_fills_up_stops_the_run_until_there_is_room(
    whole: Path, experiment: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    answer = on_a_small_disk(experiment, disk, "1500k")  # a checkpoint has about 700k
    answer.refused(4, "No space left", "help: ", f"genesys-engine resume {disk}/run")
    again = disk.with_suffix(".again").read_text()
    assert again.split()[-1] == "0", again
    settled(disk.with_suffix(".copy"), whole)


def test_a_full_disk_is_believed_only_where_it_is_full(tmp_path: Path) -> None:
    outcome = Outcome("error", None, "OSError: [Errno 28] No space left on device")
    refuse_infrastructure(outcome, tmp_path, Limits(file_bytes=1))
    with pytest.raises(InfrastructureFailure):
        refuse_infrastructure(outcome, tmp_path, Limits(file_bytes=1 << 60))
