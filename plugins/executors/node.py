"""The side of an executor that is where the jobs run: a sandbox on this machine, and one job in it.

    coordinator                                    node
    `NodeJob`: the very job that the  ----->       are the terms met, are the files here?
    process executor would run                     `SandboxHost`, at this node's level
    `Outcome`                         <-----       the outcome, and the node's name among its facts

What is the node's fault (`terms`, a file that is missing) is an outcome `infrastructure` whose
reason begins with the node's name, and never the design's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genesys_engine.plugins.executors.options import SandboxOptions, preloaded_with
from genesys_engine.plugins.executors.terms import (
    Terms,
    code_fault,
    code_of,
    extend_path,
    isolation_fault,
    node_name,
    version_fault,
)
from genesys_engine.plugins.sandbox import (
    Isolation,
    Level,
    Limits,
    Outcome,
    SandboxHost,
    isolation_here,
)
from genesys_engine.plugins.sandbox.scratch import ran_out_of_disk

NODE, ISOLATION = "node", "isolation"  # facts of an outcome


@dataclass(frozen=True)
class NodeJob:
    """A job on its way to a node: what `Executor.submit` was given, and the code that it names."""

    target: str
    payload: Mapping[str, Any]
    scratch: str
    limits: Limits
    code: Mapping[str, str]

    @classmethod
    def of(cls, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits) -> NodeJob:
        """Return the job as the coordinator sends it."""
        return cls(target, payload, str(scratch.absolute()), limits, code_of(target, payload))

    def to_json(self) -> dict[str, Any]:
        """Return the job as it travels."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NodeJob:
        """Return the job that `to_json` wrote."""
        return cls(**{**data, "limits": Limits.from_json(data["limits"])})


def open_sandbox(
    options: SandboxOptions,
    *,
    workers: int,
    require: Level = "process",
    devices: Sequence[str] | None = None,
    jobs_per_device: int = 1,
) -> SandboxHost:
    """Return the sandbox of this machine; see `SandboxHost`."""
    return SandboxHost(
        workers=workers,
        preload=preloaded_with() if options.preload is None else options.preload,
        max_restarts=options.max_restarts,
        start_s=options.start_s,
        guard_s=options.guard_s,
        require=require,
        at_most=options.isolation,
        devices=devices,
        jobs_per_device=jobs_per_device,
    )


def node_fault(terms: Terms, isolation: Isolation) -> str:
    """Say why this node can get no work at all; "" if it can."""
    extend_path(terms.path)
    return version_fault(terms) or isolation_fault(terms, isolation)


def job_fault(job: NodeJob) -> str:
    """Say why this node cannot run a job that others may; "" if it can."""
    lacking = [path for path in job.limits.readable if not Path(path).exists()]
    if lacking:
        return f"{lacking[0]} does not exist there, and the job reads it"
    return code_fault(job.code)


def faulty(reason: str) -> Outcome:
    """Return the outcome of a job that this node cannot run."""
    node = node_name()
    return Outcome("infrastructure", None, f"node {node}: {reason}", {NODE: node})


def run_once(
    job: NodeJob, terms: Terms, options: SandboxOptions, *, devices: Sequence[str] | None = None
) -> Outcome:
    """Run one job here, in a sandbox that is started for it, and wait for its end.

    Every process of it is gone when this returns or raises.

    Args:
        devices: that the job may use, as CUDA_VISIBLE_DEVICES names them; None: what there is.
    """
    isolation = isolation_here(options.isolation)
    if fault := node_fault(terms, isolation) or job_fault(job):
        return faulty(fault)
    host = open_sandbox(options, workers=1, require=terms.require, devices=devices)
    try:
        scratch = Path(job.scratch)
        outcome = host.submit(job.target, job.payload, scratch, job.limits).result()
    finally:
        host.close()
    return on_node(outcome, job, isolation)


def on_node(outcome: Outcome, job: NodeJob, isolation: Isolation) -> Outcome:
    """Return the outcome of a job with this node's name and level among its facts.

    A full disk is this node's fault, and only this node can see that it is full.
    """
    node = node_name()
    if ran_out_of_disk(outcome, Path(job.scratch), job.limits):
        outcome = replace(outcome, status="infrastructure", value=None)
    reason = outcome.reason
    if outcome.status == "infrastructure":
        reason = f"node {node}: {reason}"
    facts = {**outcome.facts, NODE: node, ISOLATION: isolation.level}
    return replace(outcome, reason=reason, facts=facts)
