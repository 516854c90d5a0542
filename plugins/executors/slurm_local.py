"""Slurm's stand-in on one machine: submitit's local mode, in processes that outlive the engine.

submitit's controller stays in the session of whoever starts it, where Ctrl-C would reach it; so
each job is started by this module, run in a session of its own:

    python -m genesys_engine.plugins.executors.slurm_local HOME MINUTES JSON-of-setup-lines
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.plugins.executors.slurm_cluster import GONE, JobState, Needs
from genesys_engine.plugins.executors.slurm_node import SUBMITIT, NodeTask
from genesys_engine.plugins.sandbox.starting import retried

if TYPE_CHECKING:
    from genesys_engine.plugins.executors.kept_job import KeptJob
    from genesys_engine.plugins.executors.slurm_options import SlurmOptions

MODULE = "genesys_engine.plugins.executors.slurm_local"
PID = "local.pid"


class LocalCluster:
    """Runs jobs in processes of this machine, at most `most` at a time."""

    lag_s = 1.0

    def __init__(self, options: SlurmOptions, workers: int) -> None:
        self.most: int | None = workers
        self._options = options
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, job: KeptJob, needs: Needs) -> str:
        """Start a process; see `Cluster`."""
        home = str(job.home.absolute())
        setup = json.dumps(list(self._options.setup))
        words = (home, str(needs.minutes), setup, str(self._options.gpus))
        process = retried(
            lambda: subprocess.Popen(
                [sys.executable, "-m", MODULE, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                start_new_session=True,
            )
        )
        self._started[str(process.pid)] = process
        return str(process.pid)

    def find(self, job: KeptJob) -> str:
        """Return the process that the job noted; see `Cluster`."""
        try:
            pid = (job.home / PID).read_text(encoding="utf-8")
        except OSError:
            return ""
        return pid if _runs(pid) else ""

    def states(self, numbers: Sequence[str]) -> Mapping[str, JobState]:
        """Look for the processes; see `Cluster`."""
        return {number: self._state(number) for number in numbers}

    def _state(self, number: str) -> JobState:
        own = self._started.get(number)
        if own is not None and own.poll() is None:
            return JobState("running", "RUNNING")
        if own is None and _runs(number):
            return JobState("running", "RUNNING")
        if own is None:
            return GONE
        return JobState("ended", "COMPLETED" if own.returncode == 0 else "FAILED")

    def cancel(self, numbers: Iterable[str]) -> None:
        """Kill the whole session of each job; the sandbox ends with the process that started it."""
        for number in numbers:
            if (own := self._started.get(number)) is None and not _runs(number):
                continue
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(int(number), signal.SIGKILL)
            if own is not None:
                own.wait()


def _runs(number: str) -> bool:
    """Tell whether a process is one that this module has started, and not a later one that got
    its number."""
    command = ["ps", "-ww", "-o", "args=", "-p", number]
    found = retried(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    return MODULE in found.stdout


def main(home: Path, minutes: int, setup: Sequence[str], gpus: int) -> None:
    """Run the job that is noted in `home` through submitit, and wait for its end."""
    from submitit import LocalExecutor

    (home / PID).write_text(str(os.getpid()), encoding="utf-8")
    executor = LocalExecutor(home / SUBMITIT)
    executor.update_parameters(timeout_min=minutes, setup=list(setup), gpus_per_node=gpus)
    executor.submit(NodeTask(str(home))).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
