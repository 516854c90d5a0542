"""The executor of a single machine: the sandbox's warm template and its forked children."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pydantic import Field

from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.executors.node import open_sandbox
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.sandbox import Isolation, Level, isolation_here


class ProcessOptions(SandboxOptions):
    """How the processes are made, and which accelerators they share."""

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
        self._host = open_sandbox(
            options,
            workers=workers,
            require=require,
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
