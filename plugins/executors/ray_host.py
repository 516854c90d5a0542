"""What lives on a node of a Ray cluster: one actor for each, with the node's one warm sandbox.

All jobs of the node are forked from the same template, as on a single machine; the actor holds the
resources of all its slots.  Nothing here imports Ray: the class is made an actor by `ray_cluster`.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.plugins.executors.files import FileFact, Files, Mirror
from genesys_engine.plugins.executors.node import (
    NodeJob,
    faulty,
    job_fault,
    node_fault,
    on_node,
    open_sandbox,
)
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.executors.terms import Terms
from genesys_engine.plugins.held_folders import hold
from genesys_engine.plugins.sandbox import Isolation, Outcome, isolation_here
from genesys_engine.plugins.sandbox.devices import devices_here

_PREFIX = "genesys-node-"


class NodeUnfit(Exception):
    """This node does not meet the terms; the message says why."""


@dataclass(frozen=True)
class Ran:
    """How a job ended, and the files that it left on this node alone; None where its scratch folder
    is the coordinator's too."""

    outcome: Outcome
    left: tuple[FileFact, ...] | None = None


class NodeHost:
    """The node's side of the executor.

    Args:
        slots: jobs at a time.
        gpus: that one job keeps; a fraction shares a device between jobs.
        shared: whether the coordinator's files are looked for in their own place first.

    Raises:
        NodeUnfit: this node cannot have any work.
    """

    def __init__(
        self, terms: Terms, options: SandboxOptions, slots: int, gpus: float, *, shared: bool
    ) -> None:
        self._isolation = isolation_here(options.isolation)
        if fault := node_fault(terms, self._isolation):
            raise NodeUnfit(fault)
        self._sandbox = open_sandbox(
            options,
            workers=slots,
            require=terms.require,
            devices=devices_here() if gpus else (),
            jobs_per_device=math.floor(1 / gpus) if 0 < gpus < 1 else 1,
        )
        folder, self._lock = hold(_PREFIX)
        self._mirror = Mirror(folder, shared=shared)

    def isolation(self) -> Isolation:
        """Return what keeps the jobs of this node apart."""
        return self._isolation

    def run(self, packed: bytes) -> bytes:
        """Run a job, given with its files; the answer is `Ran`, or None where it has not been run,
        since files of it are not here.

        Both are pickled by us: Ray passes bytes on as they are, and takes its time over objects.
        """
        return pickle.dumps(self._run(*pickle.loads(packed)))

    def _run(self, job: NodeJob, files: Files) -> Ran | None:
        if self._mirror.lacking(files, job.scratch):
            return None
        placed = self._mirror.placed(job, files)
        if fault := job_fault(placed):
            return Ran(faulty(fault))
        future = self._sandbox.submit(
            placed.target, placed.payload, Path(placed.scratch), placed.limits
        )
        outcome = on_node(future.result(), placed, self._isolation)
        own = placed.scratch != job.scratch
        return Ran(outcome, tuple(self._mirror.produced(job.scratch)) if own else None)

    def lacking(self, files: Files, scratch: str) -> list[FileFact]:
        """See `Mirror.lacking`."""
        return self._mirror.lacking(files, scratch)

    def compare(self, digests: Mapping[FileFact, str]) -> tuple[list[FileFact], list[str]]:
        """See `Mirror.compare`."""
        return self._mirror.compare(digests)

    def receive(self, fact: FileFact, offset: int, data: bytes, last: bool) -> None:
        """See `Mirror.receive`."""
        self._mirror.receive(fact, offset, data, last=last)

    def read(self, path: str, offset: int) -> bytes:
        """See `Mirror.read`."""
        return self._mirror.read(path, offset)

    def drop(self, scratch: str) -> None:
        """See `Mirror.drop`."""
        self._mirror.drop(scratch)

    def close(self) -> None:
        """End every job here, and remove what was sent."""
        self._sandbox.close()
        self._mirror.close()
        os.close(self._lock)
