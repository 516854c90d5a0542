"""Every way in which a command is asked to end: it ends alike, and leaves nothing behind."""

import os
import pty
import signal
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import commands
import pytest
from engine_process import (
    ask,
    descendants,
    ended,
    engine,
    gone,
    started,
    template,
    verifying,
    wait_for,
    write_experiment,
)

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SLOW = """
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.up = nn.Linear(embed_dim, embed_dim, device=device, dtype=dtype)

    def forward(self, X, **Z):
        for _ in range({rounds}):
            X = X + 0.0
        return X + self.up(X), Z
"""


@pytest.fixture
def tmpdir(tmp_path, monkeypatch):
    """The folder for temporary files, of this test alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def short(folder):
    """An experiment of one child, whose training may be all that a resume has to do."""
    return write_experiment(folder, verifications=2, designs=1)


def events(run, kind):
    return ask(run, f"SELECT payload FROM events WHERE kind = '{kind}'")


@pytest.mark.parametrize("number", ENDING[1:], ids=lambda number: number.name)
def test_a_run_ends_after_what_is_under_way_and_can_be_resumed(tmp_path, number):
    run = tmp_path / "run"
    with started("run", short(tmp_path), "--out", run) as process:
        wait_for(lambda: verifying(process), process)
        workers = [template(process), *descendants(process.pid)]
        process.send_signal(number)
        answer = ended(process)
    assert answer.code == 130, answer.err
    assert "stopping" in answer.err
    assert events(run, "run.interrupted")
    assert gone(workers)
    assert engine("resume", run).code in (0, 1)
    assert events(run, "run.finished")


def test_a_run_whose_terminal_is_closed_ends_as_by_sigterm(tmp_path):
    run = tmp_path / "run"
    master, slave = pty.openpty()
    process = commands.start(
        [sys.executable, "-m", "genesys_engine", "run", short(tmp_path), "--out", run],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        os.close(slave)
        drained = []
        while not verifying(process):  # else the terminal is full, and whoever writes waits
            drained.append(os.read(master, 1 << 16))
        os.close(master)
        assert process.wait(120) == 130
    finally:
        process.kill()
        process.wait()
    assert events(run, "run.interrupted")


def test_a_run_under_nohup_goes_on(tmp_path, monkeypatch):
    run = tmp_path / "run"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it to its command
    try:
        with started("run", short(tmp_path), "--out", run) as process:
            wait_for(lambda: verifying(process), process)
            process.send_signal(signal.SIGHUP)
            assert ended(process).code in (0, 1)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert events(run, "run.finished")


@pytest.fixture
def slow(tmp_path):
    block = tmp_path / "slow.py"
    block.write_text(SLOW.format(rounds=10**9))
    return block


def left(tmpdir):
    return sorted(path.name for path in tmpdir.iterdir())


def checking(process):
    """Return the temporary folders in which jobs of a command work now."""
    found = []
    for pid in descendants(process.pid):
        try:
            folder = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            continue
        # Each block that is checked has a folder of its own in it.
        above = (folder, *folder.parents)
        found += [each for each in above if each.name.startswith("genesys-scratch-")]
    return found


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_check_that_is_ended_leaves_no_folder_and_no_process(slow, tmpdir, number):
    with started("check", slow) as process:
        wait_for(lambda: checking(process), process)
        workers = descendants(process.pid)
        process.send_signal(number)
        answer = ended(process)
    assert answer.code == 130
    assert "interrupted" in answer.err
    assert "Traceback" not in answer.err
    assert left(tmpdir) == []
    assert gone(workers)


def test_what_a_killed_check_left_is_removed_by_the_next_one(tmp_path, slow, tmpdir):
    (tmpdir / "genesys-scratch-link").symlink_to(tmp_path)
    (tmpdir / "of-somebody-else").mkdir()
    with started("check", slow) as first, started("check", slow) as second:
        for process in (first, second):
            wait_for(lambda process=process: checking(process), process)
        (kept,) = set(checking(second))
        first.kill()
        first.wait()
        assert len(left(tmpdir)) == 4
        quick = tmp_path / "quick.py"
        quick.write_text(SLOW.format(rounds=1))
        assert engine("check", quick, "--fast").code in (0, 1)
        assert left(tmpdir) == sorted(["genesys-scratch-link", "of-somebody-else", kept.name])
    assert slow.exists()
