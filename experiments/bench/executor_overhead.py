"""What the way to a job costs on Ray, next to the process executor, and what two nodes deliver.

    python experiments/bench/executor_overhead.py --trials 2000 --workers 8
    python experiments/bench/executor_overhead.py --trials 100 --workers 2 --burn 2
    python experiments/bench/executor_overhead.py --trials 400 --only many

Three comparisons, all sides in this one run and in turns: the wall and processor seconds of many
stubbed trials, the latter by whose they are; the overhead of one trial in a warm executor; the
processor seconds that trials get on two nodes of one worker each, against one such node.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "support")]

from engine_process import descendants  # type: ignore[import-not-found]  # noqa: E402
from ray_cluster import TestCluster  # type: ignore[import-not-found]  # noqa: E402

from genesys_engine.plugins.api import Limits  # noqa: E402
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions  # noqa: E402
from genesys_engine.plugins.executors.ray import RayExecutor  # noqa: E402
from genesys_engine.plugins.executors.ray_cluster import RayOptions  # noqa: E402

JOBS = "executor_jobs"
LIMITS = Limits(600.0)
TICKS = os.sysconf("SC_CLK_TCK")  # of processor time in a second
Make = Callable[[int], Any]
Spent = dict[str, float]
"""Processor seconds, by whose they are."""


def main() -> None:
    """Print the three comparisons."""
    arguments = _arguments()
    workers = arguments.workers
    cluster = TestCluster(cpus=1)
    options = RayOptions(preload=(JOBS,), address=cluster.address, num_cpus=0.5 / workers)
    executors: dict[str, Make] = {
        "process": lambda n: ProcessExecutor(ProcessOptions(preload=(JOBS,)), workers=n),
        "ray": lambda n: RayExecutor(options, workers=n),
    }
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    try:
        if arguments.only in (None, "many"):
            _many(executors, arguments.trials, workers, arguments.rounds)
        if arguments.only in (None, "one"):
            _one(executors, arguments.single)
        if arguments.only in (None, "nodes"):
            _two_nodes(cluster, arguments.burn, arguments.rounds)
    finally:
        cluster.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--single", type=int, default=100, help="trials one by one")
    parser.add_argument("--burn", type=float, default=3.0, help="processor seconds of a trial")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=("many", "one", "nodes"), help="one of the three")
    return parser.parse_args()


def _many(executors: dict[str, Make], trials: int, workers: int, rounds: int) -> None:
    """Print the seconds that stubbed trials take, warm, `workers` at a time."""
    open_ = {name: make(workers) for name, make in executors.items()}
    walls: dict[str, list[float]] = {name: [] for name in open_}
    spent: dict[str, list[Spent]] = {name: [] for name in open_}
    for executor in open_.values():
        _run(executor, workers, "stub")
    for _ in range(rounds):
        for name, executor in open_.items():
            begin, before = time.monotonic(), _spent()
            _run(executor, trials, "stub")
            walls[name].append(time.monotonic() - begin)
            after = _spent()
            spent[name].append({part: s - before.get(part, 0.0) for part, s in after.items()})
    for executor in open_.values():
        executor.close()
    for name, seconds in walls.items():
        told = ", ".join(f"{each:.1f}" for each in seconds)
        print(f"{trials} stubbed trials over {workers} workers, {name}: {told} s of wall time")
        least = min(spent[name], key=_total)
        parts = ", ".join(f"{part} {1000 * s / trials:.1f}" for part, s in least.items())
        print(f"  processor time per result: {1000 * _total(least) / trials:.1f} ms ({parts})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  the coordinator's peak memory with both, Ray's library in it: {peak:.0f} MB")
    wall = min(walls["ray"]) / min(walls["process"])
    cpu = min(map(_total, spent["ray"])) / min(map(_total, spent["process"]))
    print(f"  ray / process: {wall:.2f} of wall time (goal 1.3), {cpu:.2f} of processor time")
    sys.stdout.flush()


def _total(spent: Spent) -> float:
    return sum(spent.values())


def _spent() -> Spent:
    """Return the processor seconds so far of this process and of all below it, by whose they are;
    those of a process that has ended are its parent's.
    """
    found: Spent = {}
    for pid in (os.getpid(), *descendants(os.getpid())):
        with suppress(OSError):  # gone meanwhile
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
            own, ended = sum(map(int, times[:2])), sum(map(int, times[2:]))
            if pid == os.getpid():
                found["coordinator"] = own / TICKS
                continue
            jobs = b"-P" in command.split(b"\0")  # a template, which has ended jobs
            part = "templates and jobs" if jobs else _of_ray(command)
            found[part] = found.get(part, 0.0) + (own + ended) / TICKS
    return found


def _of_ray(command: bytes) -> str:
    return "hosts" if b"NodeHost" in command else "Ray's other processes"


def _run(executor: Any, trials: int, job: str, **payload: Any) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        futures = []
        for n in range(trials):
            scratch = Path(folder, str(n))
            scratch.mkdir()
            futures.append(executor.submit(f"{JOBS}:{job}", {"n": n, **payload}, scratch, LIMITS))
        outcomes = [future.result() for future in futures]
    faults = [outcome.reason for outcome in outcomes if outcome.status != "ok"]
    if faults:
        raise SystemExit(f"{len(faults)} trials failed: {faults[0]}")
    return outcomes


def _one(executors: dict[str, Make], trials: int) -> None:
    """Print the wall seconds of a single stubbed trial in a warm executor."""
    medians = {}
    for name, make in executors.items():
        executor = make(1)
        _run(executor, 3, "stub")
        each = []
        for _ in range(trials):
            begin = time.monotonic()
            _run(executor, 1, "stub")
            each.append(time.monotonic() - begin)
        executor.close()
        medians[name] = statistics.median(each) * 1000
        print(f"one warm stubbed trial, {name}: median {medians[name]:.1f} ms")
    print(f"  overhead of ray: {medians['ray'] - medians['process']:.1f} ms (goal 150)", flush=True)


def _two_nodes(cluster: TestCluster, cpu_s: float, rounds: int) -> None:
    """Print the processor seconds per wall second that trials get on one node, and on two."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        rates[1].append(_delivered(cluster, 1, cpu_s))
        with cluster.node(1):
            rates[2].append(_delivered(cluster, 2, cpu_s))
    for nodes, found in rates.items():
        print(f"{nodes} nodes of one worker: {_mean(found):.3f} processor seconds a second")
    print(f"  of linear: {_mean(rates[2]) / (2 * _mean(rates[1])):.2f} (goal 0.9)", flush=True)


def _delivered(cluster: TestCluster, nodes: int, cpu_s: float) -> float:
    options = RayOptions(preload=(JOBS,), address=cluster.address, num_cpus=1)
    executor = RayExecutor(options, workers=nodes)
    _run(executor, 4 * nodes, "stub")  # both nodes are warm then
    begin = time.monotonic()
    outcomes = _run(executor, 3 * nodes, "burn", cpu_s=cpu_s)
    wall = time.monotonic() - begin
    executor.close()
    return float(sum(outcome.value["cpu_s"] for outcome in outcomes) / wall)


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


if __name__ == "__main__":
    main()
