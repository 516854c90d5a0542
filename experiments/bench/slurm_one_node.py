"""A real Slurm of one node: run a small experiment on it, kill the engine, resume, and compare with
the same experiment on the executor `process`.

    apt-get install slurm-wlm munge
    python experiments/bench/slurm_one_node.py            # as root, in a container or a machine

Starts munged, slurmctld and slurmd in a temporary folder, without systemd and without cgroups, and
ends them.  The engine is killed with SIGKILL three times: while a training runs (`resume` waits for
that very job), again while one runs, and then only resumed when Slurm has finished everything
(`resume` takes the results), and while an evaluation runs.  Prints both event digests and how often
each job was run.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ENGINE = [sys.executable, "-m", "genesys_engine"]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PATIENCE_S = 900.0
EXPERIMENT = """
[run]
lookahead = 2
workers = 2
[population]
seeds = ["gpt"]
[[ladder.rungs]]
scale = "0.2M"
verifications = 4
tokens = 12288
[[evaluators]]
use = "heldout"
windows = 8
[budget]
designs = 3
"""
SLURM = (
    'executor.use="slurm"',
    'executor.memory="2G"',
    'executor.partition="work"',
    "executor.poll_s=1.0",
)
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
SchedulerParameters=batch_sched_delay=1,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=86400
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=work Nodes=ALL Default=YES MaxTime=120 PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=120 PriorityTier=10
"""


def lacking() -> str:
    """Say what this machine lacks of a Slurm that can be started here; "" for nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {missing[0]} here: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd must be started as root"


@contextmanager
def one_node_slurm(folder: Path) -> Iterator[None]:
    """Run Slurm's daemons in `folder`, with SLURM_CONF set; all of it ends with the block."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    text = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        folder=folder,
        ports=_free_ports(2),
        cpus=os.cpu_count(),
        memory=min(8000, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20),
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    daemons = [
        _daemon(
            folder,
            *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket"),
            *(f"--key-file={key}", f"--pid-file={folder}/munged.pid"),
            *(f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"),
        )
    ]
    try:
        _until(lambda: (folder / "munge.socket").exists(), "munged does not start", 60)
        daemons += [_daemon(folder, "slurmctld", "-D", "-c"), _daemon(folder, "slurmd", "-D")]
        _until(lambda: "idle" in _said("sinfo", "-h", "-o", "%T"), "no node is idle", 120)
        yield
    finally:
        subprocess.run(["scancel", "--signal=KILL", "--full", "-u", "root"], check=False)
        subprocess.run(["scancel", "-u", "root"], check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _daemon(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with (folder / "daemons.log").open("ab") as log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _until(what: Callable[[], object], problem: str, within_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + within_s
    while not what():
        if time.monotonic() > end:
            raise SystemExit(problem)
        time.sleep(0.2)


# --- the experiment --------------------------------------------------------------------------


def jobs() -> list[tuple[str, str, str]]:
    """Return (number, name, state) of every job that Slurm remembers."""
    lines = _said("squeue", "-h", "-t", "all", "-o", "%i|%j|%T").splitlines()
    return [tuple(line.split("|")) for line in lines]  # type: ignore[misc]


def _running(part: str, without: str = "\0") -> list[str]:
    return [
        number
        for number, name, state in jobs()
        if part in name and without not in name and state == "RUNNING"
    ]


def _engine(log: Path, *words: object) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen([*ENGINE, *map(str, words)], stdout=file, stderr=file)


def _digest(run: Path) -> str:
    return _said(*ENGINE, "events", str(run), "--digest").strip()


class KilledRun:
    """A run on Slurm that is killed and resumed; `paid` are its results, by task, and when each
    came."""

    def __init__(self, toml: Path, run: Path, log: Path) -> None:
        self._toml, self.run, self._log = toml, run, log
        self.paid: dict[int, float] = {}
        self.lost: set[int] = set()

    def go(self) -> None:
        """Run, with three kills and as many times `resume`.

        Raises:
            SystemExit: the engine failed, or nothing was running that could be interrupted.
        """
        sets = [word for value in SLURM for word in ("--set", value)]
        process = self._engine("run", self._toml, "--out", self.run, *sets)
        self._kill(process, "while a training runs", lambda: _running("verify-", "evaluation"))
        process = self._engine("resume", self.run)
        time.sleep(3)
        self._kill(process, "while a training runs", lambda: _running("verify-", "evaluation"))
        _until(lambda: not _under_way(), "jobs do not end")
        print("  Slurm has finished all jobs, with no engine there", flush=True)
        process = self._engine("resume", self.run)
        self._kill(process, "while an evaluation runs", lambda: _running("evaluation"))
        process = self._engine("resume", self.run)
        if process.wait(PATIENCE_S) != 0:
            raise SystemExit(self._log.read_text(errors="replace")[-3000:])
        self._count()

    def _engine(self, *words: object) -> subprocess.Popen[bytes]:
        return _engine(self._log, *words)

    def _kill(
        self, process: subprocess.Popen[bytes], when: str, comes: Callable[[], object]
    ) -> None:
        _until(lambda: comes() or process.poll() is not None, f"it never came to this: {when}")
        if process.poll() is not None:
            print(self._log.read_text(errors="replace")[-3000:])
            raise SystemExit(f"the engine had ended before it could be killed {when}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._count()
        names = ", ".join(name for _, name, _ in _under_way()) or "nothing"
        print(f"killed {when}; {len(self.paid)} results kept; in Slurm: {names}", flush=True)

    def _count(self) -> None:
        """Note which results are gone, or came a second time."""
        db = sqlite3.connect(f"file:{self.run / 'run.sqlite'}?mode=ro", uri=True)
        now = dict(db.execute("SELECT seq, finished_at FROM tasks WHERE finished_at IS NOT NULL"))
        db.close()
        self.lost |= {seq for seq, at in self.paid.items() if now.get(seq) != at}
        self.paid = now


def _under_way() -> list[tuple[str, str, str]]:
    return [job for job in jobs() if job[2] in ("RUNNING", "PENDING", "COMPLETING")]


def main() -> int:
    """Run it; exit code 0 when the digests agree and no job was run twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    if problem := lacking():
        print(problem, file=sys.stderr)
        return 4
    work = Path(tempfile.mkdtemp(prefix="slurm-one-node-"))
    try:
        toml = work / "small.toml"
        toml.write_text(EXPERIMENT, encoding="utf-8")
        with one_node_slurm(work / "slurm"):
            version = _said("sbatch", "--version").strip()
            print(f"{version}: {_said('sinfo', '-h', '-o', '%P %c CPUs, %m MB').split(chr(10))[0]}")
            started = time.monotonic()
            killed = KilledRun(toml, work / "slurm-run", work / "slurm.log")
            killed.go()
            print(f"slurm: {time.monotonic() - started:.0f} s", flush=True)
            ended = jobs()
        log = work / "process.log"
        if _engine(log, "run", toml, "--out", work / "process-run").wait(PATIENCE_S) != 0:
            raise SystemExit(log.read_text(errors="replace")[-3000:])
        return _compare(work, killed, ended)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compare(work: Path, run: KilledRun, ended: list[tuple[str, str, str]]) -> int:
    """Print what both runs gave, and return the exit code."""
    whole, killed = _digest(work / "process-run"), _digest(run.run)
    for number, name, state in sorted(ended, key=lambda job: int(job[0])):
        print(f"  job {number}: {name}: {state}")
    times = Counter(name for _, name, _ in ended)
    twice = [name for name, count in times.items() if count > 1]
    left = list(run.run.rglob("*-job"))
    print(f"digest on process: {whole}\ndigest on slurm:   {killed}\nequal: {whole == killed}")
    print(f"results: {len(run.paid)}, of which lost or made again: {len(run.lost)}")
    print(f"jobs: {len(times)} asked for, {len(ended)} submitted, paid twice: {len(twice)}")
    print(f"notes left behind: {len(left)}")
    good = whole == killed and not (twice or left or run.lost)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
