"""The real command line in a process of its own, on an experiment of a few seconds."""

from __future__ import annotations

import io
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from genesys_engine.plugins.sandbox.starting import retried

PATIENCE_S = 120.0
T = TypeVar("T")
EXPERIMENT = """
[run]
lookahead = {lookahead}
[population]
seeds = ["gpt"]
[corpus]
use = "text"
paths = ["{text}"]
vocab_size = 300
[[ladder.rungs]]
scale = "0.2M"
verifications = {verifications}
tokens = 6144
[[evaluators]]
use = "heldout"
windows = 8
[budget]
designs = {designs}
[executor]
timeout_s = {timeout_s}
preload = [
  "genesys_engine.gab.lean_torch", "safetensors.torch", "genesys_engine.plugins.check_job",
  "genesys_engine.plugins.train_job", "genesys_engine.plugins.evaluate_job",{preload}
]
{more}
"""


def write_text(folder: Path, size: int = 200_000) -> Path:
    """Write words of an invented language, the frequent ones short, and return the file."""
    rng = random.Random(0)
    syllables = ["ka", "to", "mi", "re", "su", "no", "la", "pe", "di", "vo", "shi", "ran"]
    words = ["".join(rng.choices(syllables, k=1 + i // 150)) for i in range(600)]
    weights = [1 / (i + 1) for i in range(600)]
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(rng.choices(words, weights, k=rng.randint(6, 14))) + ".\n")
        length += len(lines[-1])
    path = folder / "text.txt"
    path.write_text("".join(lines))
    return path


def write_experiment(
    folder: Path,
    *,
    verifications: int = 3,
    designs: int = 2,
    lookahead: int = 4,
    more: str = "",
    timeout_s: int = 240,
    preload: Sequence[str] = (),
) -> Path:
    """Write `tiny.toml` and its text into `folder`; `preload` are further modules for workers."""
    text = folder / "text.txt"
    if not text.exists():
        write_text(folder)
    path = folder / "tiny.toml"
    values = {"verifications": verifications, "designs": designs, "timeout_s": timeout_s}
    values["preload"] = "".join(f'"{name}",' for name in preload)
    path.write_text(EXPERIMENT.format(text=text, lookahead=lookahead, more=more, **values))
    return path


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *texts: str) -> None:
        """Check that it ended with `code` and one clear error that holds `texts`."""
        assert self.code == code, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        told = [line for line in self.err.splitlines() if line.startswith("genesys-engine: ")]
        assert len(told) == 1, self.err
        error = self.err[self.err.index(told[0]) :]
        for text in texts:
            assert text in error, error


def here(*words: object) -> Answer:
    """Run in this process a command that starts no worker: one that shows something or refuses."""
    from genesys_engine.engine.cli import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return Answer(code, out.getvalue(), err.getvalue())


def engine(*words: object, path: Path | None = None) -> Answer:
    """Run a command to its end."""
    with started(*words, path=path) as process:
        return ended(process)


class Engine(subprocess.Popen[bytes]):
    """A command of the engine in a session of its own, `path` on its PYTHONPATH."""

    def __init__(self, words: Sequence[object], path: Path | None = None) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - they live as long as this does
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        start = partial(
            super().__init__,
            [sys.executable, "-m", "genesys_engine", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(path or "")},
            start_new_session=True,
            # One that was started in the background inherits that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        retried(start)

    def answer(self) -> Answer:
        """Return what was said so far, and how it ended if it has."""
        out, err = (os.pread(f.fileno(), 1 << 20, 0).decode() for f in (self._out, self._err))
        return Answer(-1 if self.returncode is None else self.returncode, out, err)


@contextmanager
def started(*words: object, path: Path | None = None) -> Iterator[Engine]:
    """Run a command beside the test; it never outlives the block."""
    process = Engine(words, path)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(process: Engine) -> Answer:
    """Wait for the end of a command."""
    process.wait(2 * PATIENCE_S)
    return process.answer()


def digest(run: Path) -> str:
    """Return the event digest that the command line tells."""
    return here("events", run, "--digest").out.strip()


def ask(run: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask the database of a run; nothing where there is none yet."""
    if not (run / "run.sqlite").exists():
        return []
    db = sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True, timeout=10)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def wait_for(what: Callable[[], T], process: Engine) -> T:
    """Wait until `what` gives something true, while `process` lives, and return it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert process.poll() is None, process.answer()
        assert time.monotonic() < end, "it never came to this"
        time.sleep(0.02)
    return found


def verifying(process: Engine) -> dict[int, int]:
    """Return the workers that verify now: number of the task -> process id."""
    found = {}
    for pid in descendants(process.pid):
        try:
            folder = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            continue
        if at := re.match(r"verify-(\d+)", folder.name):
            found[int(at[1])] = pid
    return found


def template(process: Engine) -> int:
    """Return the process that forks the workers: the engine's only child."""
    (pid,) = _children().get(process.pid, [])
    return pid


def descendants(pid: int) -> list[int]:
    """Return all processes below `pid`."""
    children, found = _children(), [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def gone(pids: list[int], within_s: float = 60.0) -> bool:
    """Tell whether all these processes have ended within some seconds."""
    end = time.monotonic() + within_s
    while left := [pid for pid in pids if _runs(pid)]:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return not left


def interrupt(process: Engine) -> None:
    """Press Ctrl-C: everything in the foreground group of the terminal is told."""
    os.killpg(process.pid, signal.SIGINT)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def _runs(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def _stat(pid: int) -> list[str]:
    """Return the state, the parent and so on of a process; nothing if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
