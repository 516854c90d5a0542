"""What a Slurm job runs on its node: the job that is noted in a folder, in the sandbox there.

submitit starts it (`python -m submitit.core._submit`) and pickles nothing but the folder's name:
what the job is asked and what it answers are JSON, which nobody has to execute in order to read it.

A job that Slurm ends writes no outcome.  One that it requeues (after a preemption, a lost node, the
end of its time) begins here again, in the same folder, and continues from its training checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesys_engine.plugins.disk import write_whole
from genesys_engine.plugins.executors.kept_job import (
    OUTCOME,
    REQUEST,
    STARTED,
    Started,
    write_outcome,
)
from genesys_engine.plugins.executors.node import NodeJob, run_once
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.executors.terms import Terms, node_name
from genesys_engine.plugins.sandbox import isolation_here
from genesys_engine.plugins.sandbox.devices import devices_here
from genesys_engine.plugins.sandbox.scratch import remove
from genesys_engine.plugins.trainers.session import TRAINING

SURE_S = 2.0  # in which the end of a job reaches all its processes
KILL_S = 120.0  # from that end to the kill, at most
SUBMITIT = "submitit"  # folder of its scripts, logs and pickles, next to the request


class NodeTask:
    """Runs the job that is noted in a folder; `checkpoint` is how submitit asks to requeue it."""

    def __init__(self, home: str) -> None:
        self.home = home

    def __call__(self) -> None:
        """Run the job, unless an earlier start of it has brought it to its end."""
        home = Path(self.home)
        if (home / OUTCOME).exists():
            return
        request = json.loads((home / REQUEST).read_text(encoding="utf-8"))
        job = NodeJob.from_json(request["job"])
        options = SandboxOptions.model_validate(request["options"])
        if (home / STARTED).exists():
            _leave_training(Path(job.scratch))
            for left in (home / SUBMITIT).glob("*.save_tmp"):  # submitit stops at one
                left.unlink()
        started = Started(
            node=node_name(),
            at=time.time(),
            isolation=isolation_here(options.isolation).to_json(),
            cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
            gpus=len(devices_here()),
        )
        write_whole(home / STARTED, json.dumps(asdict(started)))
        with _watch_for_the_end() as told:
            outcome = run_once(job, Terms.from_json(request["terms"]), options)
            if outcome.status != "ok":
                told.wait(SURE_S)
            if told.is_set():  # whatever came of it, its processes were being killed
                time.sleep(KILL_S)
                raise SystemExit("Slurm has ended the job")
        write_outcome(home, outcome)

    def checkpoint(self) -> Any:
        """Return what is to be run when the job is requeued: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextmanager
def _watch_for_the_end() -> Iterator[threading.Event]:
    """Yield what is set when Slurm ends the job.

    It signals all processes, those in the sandbox too: that one dies of it is no design's fault.
    """
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave_training(scratch: Path) -> None:
    """Leave nothing that an earlier start has made but its training checkpoint."""
    for entry in scratch.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            remove(entry)
        elif entry.name != TRAINING:
            entry.unlink()
