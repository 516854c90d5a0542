"""Several processes for one design: started through torchrun from within a training job.

    torchrun --nproc-per-node N -m genesys_engine.plugins.trainers.together JOB

Each builds the same model from the job's payload and trains with the same trainer, which finds the
team by itself; the first one writes the checkpoint and what there is to tell.  Whichever fails
first leaves the reason: the others then fail too, for want of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError, in_a_line
from genesys_engine.gab.memory import is_memory_error
from genesys_engine.plugins.api import TrainBudget, TrainResult, TrialDiverged
from genesys_engine.plugins.sandbox.starting import retried

JOB = "together.json"
TOLD = "together-result.json"
FAILED = "together-failed.json"


def train_together(payload: Mapping[str, Any], checkpoint: Path, processes: int) -> TrainResult:
    """Train the design of a payload with `processes` processes; return the first one's report.

    Raises:
        TrialDiverged: the trial ended early.
        InputError: this process may not start others.
        MemoryError: a process ran out of memory.
        RuntimeError: a process failed; the message is its error, or the end of what it wrote.
    """
    job, report, failed = (checkpoint.with_name(name) for name in (JOB, TOLD, FAILED))
    job.write_text(json.dumps({"payload": payload, "checkpoint": str(checkpoint)}))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", "-m", "genesys_engine.plugins.trainers.together", str(job),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = retried(
            lambda: subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
        )
    except PermissionError as error:
        raise InputError(
            "a design that several processes train needs programs and sockets, which the sandbox"
            " refuses",
            where="trainer.processes",
            hint='set [executor] isolation = "process" for designs that you trust',
        ) from error
    if not report.exists():
        raise _failure(failed, done.stderr)
    answer = json.loads(report.read_text())
    for path in (job, report, failed):
        path.unlink(missing_ok=True)
    if "ended" in answer:
        raise TrialDiverged(answer["ended"])
    curve = tuple((int(tokens), float(loss)) for tokens, loss in answer["curve"])
    return TrainResult(answer["tokens"], answer["steps"], curve, checkpoint, answer["facts"])


def _failure(failed: Path, written: str) -> Exception:
    """Return the error of the process that failed first; one killed from outside leaves none."""
    if not failed.exists():
        return RuntimeError(f"a process of the team failed: {written[-1500:]}")
    why = json.loads(failed.read_text())
    kind = MemoryError if why["memory"] else RuntimeError
    return kind(f"a process of the team failed: {why['error']}")


def main(job: Path) -> None:
    """Be one process of the team."""
    given = json.loads(job.read_text())
    checkpoint = Path(given["checkpoint"])
    try:
        _train(given["payload"], checkpoint)
    except Exception as error:
        why = {"error": in_a_line(error), "memory": is_memory_error(error)}
        with suppress(FileExistsError), checkpoint.with_name(FAILED).open("x") as file:
            json.dump(why, file)
        raise


def _train(payload: Mapping[str, Any], checkpoint: Path) -> None:
    """Train with the others; the first process writes the report."""
    import torch
    import torch.distributed as dist

    from genesys_engine.plugins.corpus import Corpus
    from genesys_engine.plugins.models import build_model
    from genesys_engine.plugins.targets import build

    device = payload["trainer"]["options"].get("device", "auto")
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if on_cuda else "gloo")
    model = build_model(payload, device)
    trainer = build(payload["trainer"]["target"], payload["trainer"]["options"])
    budget = TrainBudget(seed=payload["seed"], **payload["budget"])
    report: dict[str, Any]
    try:
        corpus = Corpus.open(payload["corpus"], training=True)
        result = trainer.train(model, corpus, budget, checkpoint)
    except TrialDiverged as problem:
        report = {"ended": str(problem)}
    else:
        report = {
            "tokens": result.tokens,
            "steps": result.steps,
            "curve": result.curve,
            "facts": {**result.facts, "processes": dist.get_world_size()},
        }
    if dist.get_rank() == 0:
        partial = checkpoint.with_name(TOLD + ".partial")
        partial.write_text(json.dumps(report))
        partial.replace(checkpoint.with_name(TOLD))
    # Not where it failed: the others would notice, and tell of that, before the reason is written.
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
