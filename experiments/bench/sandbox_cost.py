"""What isolation costs per job, level by level, and what it costs the work inside.

    python experiments/bench/sandbox_cost.py [--jobs 60] [--other /path/to/python]

Every level that this machine reaches has a warm template of its own; jobs take turns between them,
so that a busy moment hits all alike.  Prints, per level, the median and the 95th percentile of an
empty job from `submit` to its outcome (goal: below 40 ms), the processor time that it takes in
engine, template and job, the median of a job that sums many small tensors (what a filter on system
calls could slow), and as a control a fresh Python process that imports torch and does nothing (what
a job would cost without a template).

With `--other`, the interpreter of another installation of genesys-engine, its jobs take turns with
ours in the same run; the last lines are the ratios, ours over the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.plugins.sandbox import LEVELS, Limits, SandboxHost, isolation_here

HERE = str(Path(__file__).parent)
COLD_STARTS = 3
WARM_UP = 3
MEASURES = ("wall_s", "cpu_s", "work_s")


def empty(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Do nothing."""
    return {}


def work(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Allocate, multiply and write: some hundredths of a second of ordinary work."""
    import torch

    start = time.perf_counter()
    total = 0.0
    for step in range(40):
        total += float((torch.rand(64, 64) @ torch.rand(64, 64)).sum())
        (scratch / "note").write_text(str(step))
    return {"seconds": time.perf_counter() - start, "total": total}


class Side:
    """One installation: a process of its own that runs a job of a level when it is asked to."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.isolation = self._read()
        self.levels: list[str] = self.isolation.pop("levels")
        self.found: dict[str, list[dict[str, float]]] = {level: [] for level in self.levels}

    def run(self, level: str) -> None:
        """Run an empty job and one that works, and keep what they took."""
        assert self._process.stdin is not None
        print(level, file=self._process.stdin, flush=True)
        self.found[level].append(self._read())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def median(self, level: str, measure: str) -> float:
        """Return the median of a measure, in milliseconds."""
        return statistics.median(self._all(level, measure))

    def worst(self, level: str) -> float:
        """Return the 95th percentile of an empty job, in milliseconds."""
        times = self._all(level, "wall_s")
        return times[int(0.95 * len(times))]

    def _all(self, level: str, measure: str) -> list[float]:
        return sorted(1e3 * each[measure] for each in self.found[level][WARM_UP:])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def serve() -> None:
    """Run jobs of the levels that come as lines, and answer with what they took."""
    sys.path.insert(0, HERE)  # the templates search where we do
    reached = isolation_here()
    levels = [level for level in LEVELS if not reached.missing(level)]
    hosts = {level: SandboxHost(workers=1, at_most=level) for level in levels}
    print(json.dumps({**reached.to_json(), "levels": levels}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, line in enumerate(sys.stdin):
            print(json.dumps(_measured(hosts[line.strip()], Path(folder, str(number)))), flush=True)
    for host in hosts.values():
        host.close()


def _measured(host: SandboxHost, scratch: Path) -> dict[str, float]:
    before, start = _processor_s(host), time.perf_counter()
    outcome = host.submit("sandbox_cost:empty", {}, scratch, Limits()).result()
    wall_s, after = time.perf_counter() - start, _processor_s(host)
    cpu_s = after - before + outcome.facts.get("cpu_s", 0.0)
    worked = host.submit("sandbox_cost:work", {}, scratch, Limits()).result()
    for each in (outcome, worked):
        if each.value is None:
            raise SystemExit(f"{each.status}: {each.reason}")
    assert worked.value is not None
    return {"wall_s": wall_s, "cpu_s": cpu_s, "work_s": worked.value["seconds"]}


def _processor_s(host: SandboxHost) -> float:
    """Return the processor time of this process and of the template so far."""
    template_s = 0.0
    with contextlib.suppress(OSError):  # no such file on this system, or no template yet
        spent = Path(f"/proc/{host.template_pid}/schedstat").read_text()
        template_s = int(spent.split()[0]) / 1e9
    return time.process_time() + template_s


def main() -> None:
    """Measure all levels, of one installation or two, in turns and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--other", help="the interpreter of another installation")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    sides = {"this": Side(sys.executable)}
    if options.other:
        sides["other"] = Side(options.other)
    levels = [
        each for each in sides["this"].levels if all(each in s.levels for s in sides.values())
    ]
    for _ in range(options.jobs + WARM_UP):
        for level in levels:
            for side in sides.values():
                side.run(level)
    for side in sides.values():
        side.close()
    _print(sides, levels)


def _print(sides: Mapping[str, Side], levels: list[str]) -> None:
    print(f"this machine reaches {sides['this'].isolation}")
    print(f"{'level':<10}{'side':<7}{'empty job':>12}{'95 %':>10}{'processor':>12}{'work':>11}")
    for level in levels:
        for name, side in sides.items():
            wall, cpu, inside = (side.median(level, measure) for measure in MEASURES)
            numbers = f"{wall:>9.1f} ms{side.worst(level):>7.1f} ms{cpu:>9.1f} ms{inside:>8.1f} ms"
            print(f"{level:<10}{name:<7}{numbers}")
    print(f"{'cold':<17}{_cold() * 1e3:>9.1f} ms   (a process per job, no isolation)")
    if "other" in sides:
        for level in levels:
            ours, others = ([s.median(level, m) for m in MEASURES] for s in sides.values())
            wall, cpu, inside = (a / b for a, b in zip(ours, others, strict=True))
            ratios = f"{wall:>12.2f}{'':>10}{cpu:>12.2f}{inside:>11.2f}"
            print(f"{level:<10}{'ratio':<7}{ratios}")


def _cold() -> float:
    times = []
    for _ in range(COLD_STARTS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
