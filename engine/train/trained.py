"""A training that has ended and waits for its evaluation: what it reported, and its weights.

It lies in a folder of its own, where no job writes, and is whole once its note is there and its
weights have followed: killed between its two jobs, a verification continues the evaluation.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.disk import sync, write_whole
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.jobs.facts import Facts
from genesys_engine.engine.jobs.replies import TrainReply
from genesys_engine.engine.jobs.worker_jobs import TrainJob
from genesys_engine.plugins.sandbox.scratch import remove

NOTE, WEIGHTS = "training.json", "model.safetensors"
TRAINED = "-trained"  # end of the folder's name
DECIDES = ("source", "model", "seed", "budget")
"""Keys of a job; the rest of it is the same for a whole run, or changes no weights."""


@dataclass(frozen=True)
class Trained:
    """What a training reported and the facts of its job; `weights` is the file that it left, None
    where it reported none."""

    reply: TrainReply
    facts: Facts
    weights: Path | None


def keep_trained(
    folder: Path,
    job: TrainJob,
    reply: TrainReply,
    facts: Facts,
    weights: Path | None,
) -> Trained:
    """Move the weights of a training into `folder`, and note there what it reported.

    Raises:
        OSError: the disk is full.
    """
    remove(folder)
    folder.mkdir(parents=True)
    if weights is not None:
        sync(weights)
    note = {"identity": _identity(job), "reply": reply.model_dump(), "facts": dict(facts)}
    write_whole(folder / NOTE, json.dumps(note))
    sync(folder)
    kept = None if weights is None else weights.replace(folder / WEIGHTS)
    return Trained(reply, facts, kept)


def kept_training(folder: Path, job: TrainJob, scratch: Path) -> Trained | None:
    """Return the training of `job` that an earlier session kept; without one, no folder.

    The weights are still in the job's `scratch` where that session ended between note and move.
    """
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        reply = TrainReply.model_validate(note["reply"])
        weights = folder / WEIGHTS if reply.checkpoint is not None else None
        if note["identity"] == _identity(job):
            if weights is not None and not weights.is_file():
                (scratch / Path(str(reply.checkpoint)).name).replace(weights)
            return Trained(reply, note["facts"], weights)
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        pass
    remove(folder)
    return None


def is_trained(folder: Path) -> bool:
    """Tell whether a training is kept in a folder."""
    return folder.name.endswith(TRAINED) and (folder / NOTE).is_file()


def _identity(job: TrainJob) -> str:
    decisive = {key: value for key, value in to_json(job).items() if key in DECIDES}
    return hashlib.sha256(canonical_json(decisive).encode()).hexdigest()
