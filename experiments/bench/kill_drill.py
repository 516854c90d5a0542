"""Kill the coordinator, a node or a node's host at random moments of runs on a Ray cluster of two
nodes, and compare each with one on this machine that was left alone: results lost, results paid for
twice, event digest.

    python experiments/bench/kill_drill.py --kills 10
    python experiments/bench/kill_drill.py --kills 10 --folder drill --minutes 20
    python experiments/bench/kill_drill.py experiments/quickstart.toml --kills 10

Without an experiment it is the smallest that trains, checks and audits: three verifications.  Each
run is hit a few times and then left to end; there are as many runs as it takes.  With `--folder`
each run that has ended is noted there, and the same command continues after the last one; after
`--minutes` nothing more is killed or started.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kill_and_resume import check_paid, digest, end, engine, finished_once, sets

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from engine_process import descendants, write_experiment  # type: ignore[import-not-found]  # noqa: E402
from ray_cluster import TestCluster  # type: ignore[import-not-found]  # noqa: E402

WHAT = ("coordinator", "node", "host")
KILLS_A_RUN = 4  # so that it ends at some time


@dataclass
class Tally:
    """What is known so far: the run that was left alone, and what was killed in the others."""

    digest: str = ""
    whole_s: float = 0.0
    runs: int = 0
    killed: list[str] = field(default_factory=list)

    def due(self, kills: int) -> list[str]:
        """Return what is still to be killed, so many times of each kind in all."""
        return [what for what in WHAT for _ in range(kills - self.killed.count(what))]

    def __str__(self) -> str:
        counts = ", ".join(f"{what} {self.killed.count(what)}" for what in WHAT)
        return f"{self.runs} runs with {len(self.killed)} kills ({counts})"


def main() -> int:
    """Run the drill; exit code 0 where nothing was lost."""
    arguments = _arguments()
    work = arguments.folder or Path(tempfile.mkdtemp(prefix="kill-drill-"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        return _drill(arguments, work.absolute())
    finally:
        if arguments.folder is None:
            shutil.rmtree(work, ignore_errors=True)


def _drill(arguments: argparse.Namespace, work: Path) -> int:
    until = time.monotonic() + 60 * arguments.minutes
    note, experiment = work / "drill.json", arguments.experiment or write_experiment(work)
    tally = Tally(**json.loads(note.read_text())) if note.exists() else Tally()
    both = () if arguments.experiment else ("--set", "run.workers=2")
    words = (experiment, "--out", work / "run", *both, *sets(arguments))
    if not tally.digest:
        _clear(work)
        begin = time.monotonic()
        end(engine(work / "run.log", "run", *words), work / "run.log")
        tally.digest, tally.whole_s = digest(work / "run"), time.monotonic() - begin
        note.write_text(json.dumps(asdict(tally)))
    print(f"left alone, process: {tally.whole_s:.0f} s, digest {tally.digest}", flush=True)
    cluster = TestCluster(cpus=1)
    try:
        while time.monotonic() < until and (due := tally.due(arguments.kills)):
            _clear(work)
            rng = random.Random(f"{arguments.seed}/{tally.runs}")
            rng.shuffle(due)
            drill = Drill(words, cluster, due[:KILLS_A_RUN], rng, tally.whole_s, until)
            drill.run()
            if digest(work / "run") != tally.digest or not finished_once(work / "run"):
                print(f"the run in {work} has the digest {digest(work / 'run')}, or does twice")
                return 1
            tally.runs, tally.killed = tally.runs + 1, tally.killed + drill.killed
            note.write_text(json.dumps(asdict(tally)))
            print(f"so far: {tally}", flush=True)
    finally:
        cluster.close()
    print(f"{tally}: results lost: 0; paid for twice: 0; digests equal")
    return 0


def _clear(work: Path) -> None:
    shutil.rmtree(work / "run", ignore_errors=True)
    (work / "run.log").unlink(missing_ok=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=10, help="of each of the three")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="where the drill is kept and continued")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    return parser.parse_args()


class Drill:
    """One run on the cluster, and what is killed during it.  A result that is lost or paid for
    twice ends the drill (`check_paid`).

    Args:
        words: of the command `run`.
        due: what is to be killed, the last one first, if the run lasts so long.
    """

    def __init__(
        self,
        words: tuple[object, ...],
        cluster: TestCluster,
        due: list[str],
        rng: random.Random,
        whole_s: float,
        until: float,
    ) -> None:
        self.killed: list[str] = []
        self._rng = rng
        self._cluster = cluster
        self._folder = Path(str(words[words.index("--out") + 1]))
        self._log = self._folder.with_suffix(".log")
        self._pause_s = 2 * whole_s / len(due)
        self._due = due
        self._until = until
        self._words = words
        self._on = [
            word
            for option in ("use=ray", f'address="{cluster.address}"', "retries=100")
            for word in ("--set", f"executor.{option}")
        ]
        self._paid: dict[int, float] = {}

    def run(self) -> None:
        """Kill until nothing is due or the run ends by itself; then let it end."""
        with ExitStack() as nodes:
            node = nodes.enter_context(self._cluster.node(1))
            process = engine(self._log, "run", *self._words, *self._on)
            while self._due and time.monotonic() < self._until:
                try:
                    process.wait(self._rng.uniform(0.5, self._pause_s + 0.5))
                    break
                except subprocess.TimeoutExpired:
                    what = self._due.pop()
                if what == "host" and not _kill_a_host(self._rng):
                    self._due.insert(0, what)  # none has started yet, or again
                    continue
                self.killed.append(what)
                print(f"  killed the {what}", flush=True)
                if what == "coordinator":
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    process = self._again()
                elif what == "node":
                    self._cluster.kill(node)
                    node = nodes.enter_context(self._cluster.node(1))
            end(process, self._log)
            self._look()

    def _again(self) -> subprocess.Popen[bytes]:
        if (self._folder / "run.sqlite").exists():
            self._look()
            return engine(self._log, "resume", self._folder, *self._on)
        shutil.rmtree(self._folder, ignore_errors=True)  # before there was anything to resume
        return engine(self._log, "run", *self._words, *self._on)

    def _look(self) -> None:
        self._paid = check_paid(self._folder, self._paid)


def _kill_a_host(rng: random.Random) -> bool:
    """Kill the host of one of the nodes, if there is one just now, and tell whether there was; they
    are our descendants.
    """
    hosts = []
    for process in descendants(os.getpid()):
        with suppress(OSError):  # gone meanwhile
            if b"NodeHost" in Path(f"/proc/{process}/cmdline").read_bytes():
                hosts.append(process)
    with suppress(ProcessLookupError):
        if hosts:
            os.kill(rng.choice(hosts), signal.SIGKILL)
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
