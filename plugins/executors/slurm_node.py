"""What a Slurm job runs on its node: the job that is noted in a folder, in the sandbox there.

submitit starts it (`python -m submitit.core._submit`) and pickles nothing but the folder's name:
what the job is asked and what it answers are JSON, which nobody has to execute in order to read it.

A job that Slurm requeues (after a preemption, a lost node, the end of its time) begins here again,
in the same folder, and continues from its training checkpoint.
"""

from __future__ import annotations

import json
import os
import time
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
        write_outcome(home, run_once(job, Terms.from_json(request["terms"]), options))

    def checkpoint(self) -> Any:
        """Return what is to be run when the job is requeued: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _leave_training(scratch: Path) -> None:
    """Leave nothing that an earlier start has made but its training checkpoint."""
    for entry in scratch.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            remove(entry)
        elif entry.name != TRAINING:
            entry.unlink()
