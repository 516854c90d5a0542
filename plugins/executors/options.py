"""Options that every executor has which runs its jobs in the sandbox."""

from __future__ import annotations

from pydantic import Field

from genesys_engine.plugins.api import Options
from genesys_engine.plugins.sandbox import Level


class SandboxOptions(Options):
    """How the processes are made, on whatever machine the jobs run.

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
