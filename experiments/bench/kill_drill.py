"""Kill the coordinator, a node or a node's host at random moments of a run on a Ray cluster of two
nodes, and compare it with one on this machine that was left alone: results lost, results paid for
twice, event digest.

    python experiments/bench/kill_drill.py experiments/quickstart.toml --kills 10
    python experiments/bench/kill_drill.py experiments/quickstart.toml --kills 3 \\
        --set budget.designs=2 --set 'ladder.rungs=[{scale="0.2M",verifications=3,tokens=8192}]'
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from kill_and_resume import check_paid, digest, end, engine, finished_once, sets

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from engine_process import descendants  # type: ignore[import-not-found]  # noqa: E402
from ray_cluster import TestCluster  # type: ignore[import-not-found]  # noqa: E402

WHAT = ("coordinator", "node", "host")


def main() -> int:
    """Run the drill; exit code 0 where nothing was lost."""
    arguments = _arguments()
    work = Path(tempfile.mkdtemp(prefix="kill-drill-"))
    cluster = TestCluster(cpus=1)
    try:
        begin = time.monotonic()
        log = work / "whole.log"
        end(
            engine(log, "run", arguments.experiment, "--out", work / "whole", *sets(arguments)),
            log,
        )
        whole_s = time.monotonic() - begin
        print(f"left alone, process: {whole_s:.0f} s, digest {digest(work / 'whole')}", flush=True)
        drill = Drill(arguments, cluster, work / "killed", whole_s)
        drill.run()
        same = digest(work / "whole") == digest(work / "killed")
        once = finished_once(work / "killed")
        print(f"killed {drill.kills} times ({drill.tally()}): digest {digest(work / 'killed')}")
        print(f"results lost: 0; paid for twice: 0; digests equal: {same}; each once: {once}")
        return 0 if same and once else 1
    finally:
        cluster.close()
        shutil.rmtree(work, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--kills", type=int, default=10, help="of each of the three")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--set", dest="sets", action="append", default=[])
    return parser.parse_args()


class Drill:
    """One run on the cluster, and what is killed during it.  A result that is lost or paid for
    twice ends the drill (`check_paid`)."""

    def __init__(
        self, arguments: argparse.Namespace, cluster: TestCluster, folder: Path, whole_s: float
    ) -> None:
        self._rng = random.Random(arguments.seed)
        self._cluster = cluster
        self._folder = folder
        self._log = folder.with_suffix(".log")
        self._pause_s = 2 * whole_s / (len(WHAT) * arguments.kills)
        self._due = [what for what in WHAT for _ in range(arguments.kills)]
        self._rng.shuffle(self._due)
        self._killed: list[str] = []
        self._begin = ("run", arguments.experiment, "--out", folder, *sets(arguments))
        self._on = [
            word
            for option in ("use=ray", f'address="{cluster.address}"', "retries=100")
            for word in ("--set", f"executor.{option}")
        ]
        self._paid: dict[int, float] = {}

    @property
    def kills(self) -> int:
        """How often something was killed."""
        return len(self._killed)

    def tally(self) -> str:
        """Say how often what was killed."""
        return ", ".join(f"{what} {self._killed.count(what)}" for what in WHAT)

    def run(self) -> None:
        """Kill until nothing is due or the run ends by itself; then let it end."""
        with ExitStack() as nodes:
            node = nodes.enter_context(self._cluster.node(1))
            process = engine(self._log, *self._begin, *self._on)
            while self._due:
                try:
                    process.wait(self._rng.uniform(0.5, self._pause_s + 0.5))
                    break
                except subprocess.TimeoutExpired:
                    what = self._due.pop()
                self._killed.append(what)
                print(f"  kills the {what}", flush=True)
                if what == "coordinator":
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    process = self._again()
                elif what == "node":
                    self._cluster.kill(node)
                    node = nodes.enter_context(self._cluster.node(1))
                else:
                    _kill_a_host(self._rng)
            end(process, self._log)
            self._look()

    def _again(self) -> subprocess.Popen[bytes]:
        if (self._folder / "run.sqlite").exists():
            self._look()
            return engine(self._log, "resume", self._folder, *self._on)
        shutil.rmtree(self._folder, ignore_errors=True)  # before there was anything to resume
        return engine(self._log, *self._begin, *self._on)

    def _look(self) -> None:
        self._paid = check_paid(self._folder, self._paid)


def _kill_a_host(rng: random.Random) -> None:
    """Kill the host of one of the nodes, if there is one just now; they are our descendants."""
    hosts = []
    for process in descendants(os.getpid()):
        with suppress(OSError):  # gone meanwhile
            if b"NodeHost" in Path(f"/proc/{process}/cmdline").read_bytes():
                hosts.append(process)
    if hosts:
        with suppress(ProcessLookupError):
            os.kill(rng.choice(hosts), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
