"""The executor of a single machine: the sandbox's warm template and its forked children."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pydantic import Field

from genesys_engine.plugins.api import Limits, Options, Outcome
from genesys_engine.plugins.sandbox import Isolation, Level, SandboxHost, isolation_here


class ProcessOptions(Options):
    """How the processes are made.

    More modules in `preload` make jobs quicker and the template larger.  After `max_restarts`
    the waiting jobs are given back as `infrastructure`.
    """

    preload: tuple[str, ...] = Field(
        default=(
            "torch",
            "torch._dynamo",  # PyTorch imports it at the first backward, optimiser or meta tensor
            "safetensors.torch",
            "datasets",
            "lm_eval.evaluator",
            "genesys_engine.plugins.audit_job",
            "genesys_engine.plugins.check_job",
            "genesys_engine.plugins.evaluate_job",
            "genesys_engine.plugins.model_subject",
            "genesys_engine.plugins.train_job",
            "genesys_engine.plugins.auditor.served",  # last: it notes what torch is like
        ),
        description="modules imported once, by the process that every worker is forked from",
    )
    max_restarts: int = Field(
        default=3, ge=0, description="failed starts of that process in a row before giving up"
    )
    start_s: float = Field(default=120.0, gt=0, description="seconds that its start may take")
    guard_s: float = Field(
        default=5.0, gt=0, description="seconds after a job's deadline until it counts as hung"
    )
    isolation: Level = Field(
        default="strict",
        description="beyond this level no measure is used: lower it only for a trusted plugin that"
        " has to start programs in a worker",
    )
    devices: tuple[str, ...] | None = Field(
        default=None,
        description="accelerators that the workers share out, as CUDA_VISIBLE_DEVICES names them;"
        " left out: those that it names, or all there are",
    )
    jobs_per_device: int = Field(
        default=1, ge=1, description="trainings that may share an accelerator; more wait"
    )


class ProcessExecutor:
    """Implements `api.Executor` on this machine; see `plugins.sandbox` for what isolation means."""

    Options = ProcessOptions

    def __init__(
        self, options: ProcessOptions, *, workers: int, require: Level = "process"
    ) -> None:
        """Start the template in the background; `submit` may be called at once."""
        self.workers = workers
        self._host = SandboxHost(
            workers=workers,
            preload=options.preload,
            max_restarts=options.max_restarts,
            start_s=options.start_s,
            guard_s=options.guard_s,
            require=require,
            at_most=options.isolation,
            devices=options.devices,
            jobs_per_device=options.jobs_per_device,
        )

    @staticmethod
    def isolation(options: ProcessOptions) -> Isolation:
        """Return the isolation of jobs on this machine; takes about 0.1 s."""
        return isolation_here(options.isolation)

    def submit(
        self, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
    ) -> Future[Outcome]:
        """Run `target` ("module:function") on `payload`, with `scratch` as its folder.

        Raises:
            TypeError, ValueError: `payload` is not a JSON object.
            RuntimeError: the executor was closed.
        """
        return self._host.submit(target, payload, scratch, limits)

    def close(self) -> None:
        """End every job and process within two seconds; safe to call twice."""
        self._host.close()
