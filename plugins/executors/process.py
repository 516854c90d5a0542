"""The executor of a single machine: the sandbox's warm template and its forked children."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pydantic import Field

from genesys_engine.gab.sandbox import SandboxHost
from genesys_engine.plugins.api import Limits, Options, Outcome


class ProcessOptions(Options):
    """How the processes are made.

    `preload` are the modules that the template imports once, so that no job pays for them; more
    of them make jobs quicker and the template larger.  `max_restarts` is how often in a row the
    template may fail to start before waiting jobs are given back as `infrastructure`;
    `start_s` is how long a start may take, `guard_s` after how many seconds beyond a job's
    deadline the template itself counts as hung.
    """

    preload: tuple[str, ...] = (
        "torch",
        "torch._dynamo",  # PyTorch imports it at the first backward, optimiser or meta tensor
        "safetensors.torch",
        "datasets",
        "lm_eval.evaluator",
        "genesys_engine.plugins.audit_job",
        "genesys_engine.plugins.check_job",
        "genesys_engine.plugins.verify_job",
    )
    max_restarts: int = Field(default=3, ge=0)
    start_s: float = Field(default=120.0, gt=0)
    guard_s: float = Field(default=5.0, gt=0)


class ProcessExecutor:
    """Implements `api.Executor` on this machine; see `gab.sandbox` for what isolation means."""

    Options = ProcessOptions

    def __init__(self, options: ProcessOptions, *, workers: int) -> None:
        """Start the template in the background; `submit` may be called at once."""
        self.workers = workers
        self._host = SandboxHost(
            workers=workers,
            preload=options.preload,
            max_restarts=options.max_restarts,
            start_s=options.start_s,
            guard_s=options.guard_s,
        )

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
