"""Kill a run with SIGKILL at random moments, resume it each time, and compare it with one that
was left alone: same event digest, nothing paid for twice, nothing that survives its engine.

    python experiments/bench/kill_and_resume.py experiments/quickstart.toml --kills 10
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINE = [sys.executable, "-m", "genesys_engine"]


def main() -> int:
    """Run the comparison; exit code 0 when both runs agree."""
    arguments = _arguments()
    work = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    try:
        started = time.monotonic()
        log = work / "whole.log"
        whole = ("run", arguments.experiment, "--out", work / "whole", *sets(arguments))
        end(engine(log, *whole), log)
        whole_s = time.monotonic() - started
        print(f"left alone: {whole_s:.0f} s, digest {digest(work / 'whole')}", flush=True)
        kills = _killed_run(arguments, work / "killed", whole_s)
        same = digest(work / "whole") == digest(work / "killed")
        once = finished_once(work / "killed")
        print(f"killed {kills} times: digest {digest(work / 'killed')}")
        print(f"digests equal: {same}; every verification done once: {once}")
        return 0 if same and once else 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--set", dest="sets", action="append", default=[])
    return parser.parse_args()


def sets(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides as words of a command."""
    return [part for value in arguments.sets for part in ("--set", value)]


def engine(log: Path, command: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a command of the engine; what it says goes to the end of `log`."""
    words = [*ENGINE, command, *map(str, arguments)]
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file)


def end(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the end of a command, which has to be a good one."""
    if process.wait() != 0:
        print(log.read_text(errors="replace")[-3000:])
        raise SystemExit(f"the engine ended with exit code {process.returncode}")


def _killed_run(arguments: argparse.Namespace, folder: Path, whole_s: float) -> int:
    """Run, kill and resume until the run ends by itself; return how often it was killed."""
    rng = random.Random(arguments.seed)
    log = folder.with_suffix(".log")
    begin = ("run", arguments.experiment, "--out", folder, *sets(arguments))
    process = engine(log, *begin)
    paid: dict[int, float] = {}
    kills = 0
    while kills < arguments.kills:
        # Twice as many moments as kills over the length of a run: it must not end before.
        pause = rng.uniform(0.5, 2 * whole_s / arguments.kills)
        try:
            process.wait(pause)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if not (folder / "run.sqlite").exists():  # killed before there was anything to resume
            shutil.rmtree(folder, ignore_errors=True)
            process = engine(log, *begin)
            continue
        kills += 1
        paid = check_paid(folder, paid)
        print(f"  kill {kills} after {pause:.1f} s: {len(paid)} results kept", flush=True)
        process = engine(log, "resume", folder)
    end(process, log)
    check_paid(folder, paid)
    return kills


def check_paid(folder: Path, before: dict[int, float]) -> dict[int, float]:
    """Return when each result was paid for; none seen before may be lost or paid again."""
    db = sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True)
    now = dict(db.execute("SELECT seq, finished_at FROM tasks WHERE finished_at IS NOT NULL"))
    db.close()
    for seq, at in before.items():
        if now.get(seq) != at:
            raise SystemExit(f"the result of task {seq} was lost or paid for twice")
    return now


def finished_once(folder: Path) -> bool:
    """Tell whether every verification of a run was done once."""
    db = sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True)
    sql = "SELECT COUNT(*), COUNT(DISTINCT design || '/' || rung || '/' || replicate)"
    rows, distinct = db.execute(f"{sql} FROM verifications").fetchone()
    db.close()
    return bool(rows == distinct)


def digest(folder: Path) -> str:
    """Return the event digest of a run."""
    words = [*ENGINE, "events", str(folder), "--digest"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
