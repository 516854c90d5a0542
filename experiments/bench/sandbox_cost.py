"""What isolation costs per job, level by level, and what it costs the work inside.

    python experiments/bench/sandbox_cost.py [--jobs 60] [--against PYTHON]

Every level that this machine reaches has a warm template of its own; jobs take turns between them,
so that a busy moment hits all alike.  Prints, per level, the median and the 95th percentile of an
empty job from `submit` to its outcome (goal: below 40 ms), of an empty job with a subject (two
processes, and one question), of a job that sums many small tensors (what a filter on system calls
could slow), and next to them a fresh Python process that imports torch and does nothing (what a
job would cost without a template).  With `--against`, an empty job of another build, given by the
interpreter of its environment, turn by turn with this one's (goal: at most 1.1 times its time).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.gab.sandbox import LEVELS, Limits, SandboxHost, isolation_here

HERE = str(Path(__file__).parent)
COLD_STARTS = 3
WARM_UP = 3
GOAL_RATIO = 1.1


def empty(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Do nothing."""
    return {}


def ask_once(payload: Mapping[str, Any], scratch: Path, subject: Any) -> dict[str, Any]:
    """Ask the subject for nothing, once."""
    subject.ask("nothing")
    return {}


def nothing(scratch: Path) -> dict[str, Any]:
    """Return the operations of a subject that has nothing to do."""
    return {"nothing": lambda arguments, tensors: ({}, ())}


def work(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Allocate, multiply and write: some hundredths of a second of ordinary work."""
    import torch

    start = time.perf_counter()
    total = 0.0
    for step in range(40):
        total += float((torch.rand(64, 64) @ torch.rand(64, 64)).sum())
        (scratch / "note").write_text(str(step))
    return {"seconds": time.perf_counter() - start, "total": total}


def main() -> None:
    """Measure all levels in turns and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--against", default="", help="the interpreter of another build")
    parser.add_argument("--serve", action="store_true", help="run an empty job for each line read")
    asked = parser.parse_args()
    jobs = asked.jobs
    sys.path.insert(0, HERE)  # the templates search where we do
    if asked.serve:
        _serve()
        return
    if asked.against:
        _compare([sys.executable, asked.against], jobs)
    reached = isolation_here()
    levels = [level for level in LEVELS if not reached.missing(level)]
    hosts = {level: SandboxHost(workers=1, at_most=level) for level in levels}
    print(f"this machine reaches {reached.level}: {reached.to_json()}")
    with tempfile.TemporaryDirectory() as folder:
        spent: dict[str, list[float]] = {level: [] for level in levels}
        with_subject: dict[str, list[float]] = {level: [] for level in levels}
        inside: dict[str, list[float]] = {level: [] for level in levels}
        for number in range(jobs + WARM_UP):
            for level, host in hosts.items():
                scratch = Path(folder, f"{level}{number}")
                start = time.perf_counter()
                _value(host, "empty", scratch)
                spent[level].append(time.perf_counter() - start)
                start = time.perf_counter()
                _value(host, "ask_once", scratch, Limits(subject="sandbox_cost:nothing"))
                with_subject[level].append(time.perf_counter() - start)
                inside[level].append(_value(host, "work", scratch)["seconds"])
    for host in hosts.values():
        host.close()
    print(f"{'level':<10}{'empty job':>12}{'95 %':>10}{'with subject':>15}{'work inside':>14}")
    for level in levels:
        times = sorted(spent[level][WARM_UP:])
        median, worst = statistics.median(times), times[int(0.95 * jobs)]
        working = statistics.median(inside[level][WARM_UP:])
        both = statistics.median(with_subject[level][WARM_UP:])
        print(
            f"{level:<10}{median * 1e3:>9.1f} ms{worst * 1e3:>7.1f} ms{both * 1e3:>12.1f} ms"
            f"{working * 1e3:>11.1f} ms"
        )
    print(f"{'cold':<10}{_cold() * 1e3:>9.1f} ms   (a process per job, no isolation)")


def _value(
    host: SandboxHost, name: str, scratch: Path, limits: Limits | None = None
) -> Mapping[str, Any]:
    outcome = host.submit(f"sandbox_cost:{name}", {}, scratch, limits or Limits()).result()
    if outcome.value is None:
        raise SystemExit(f"{outcome.status}: {outcome.reason}")
    return outcome.value


def _serve() -> None:
    """Run an empty job for each line of the input, and print its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        host = SandboxHost(workers=1)
        for _ in sys.stdin:
            start = time.perf_counter()
            _value(host, "empty", Path(folder, "job"))
            print(time.perf_counter() - start, flush=True)
        host.close()


def _compare(pythons: list[str], jobs: int) -> None:
    """Time empty jobs of two builds, turn by turn, and print their ratio."""
    sides = [
        subprocess.Popen(
            [python, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for python in pythons
    ]
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(jobs + WARM_UP):
        for side, spent in zip(sides, times, strict=True):
            assert side.stdin is not None
            assert side.stdout is not None
            side.stdin.write("\n")
            spent.append(float(side.stdout.readline()))
    for side in sides:
        side.communicate()
    ours, theirs = (statistics.median(spent[WARM_UP:]) for spent in times)
    print(
        f"an empty job: {ours * 1e3:.1f} ms, of the other build {theirs * 1e3:.1f} ms, "
        f"{ours / theirs:.2f} times (goal {GOAL_RATIO:g})"
    )


def _cold() -> float:
    times = []
    for _ in range(COLD_STARTS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
