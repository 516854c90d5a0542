"""Options that every executor has which runs its jobs in the sandbox."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from genesys_engine.plugins.api import Options
from genesys_engine.plugins.sandbox import Level

_PYTORCH = (
    "genesys_engine.gab.lean_torch",
    "genesys_engine.gab.torch_shapes",
    "safetensors.torch",
)
"""A worker holds all that was imported: of PyTorch not what only a compiler needs, 90 MB of it."""
_OURS = (
    "genesys_engine.plugins.audit_job",
    "genesys_engine.plugins.check_job",
    "genesys_engine.plugins.evaluate_job",
    "genesys_engine.plugins.model_subject",
    "genesys_engine.plugins.train_job",
    "genesys_engine.plugins.auditor.served",  # last: it notes what torch is like
)


def preloaded_with(modules: Iterable[str] = ()) -> tuple[str, ...]:
    """Return what every job needs, and `modules`, in the order in which they are imported."""
    return tuple(dict.fromkeys((*_PYTORCH, *modules, *_OURS)))


class SandboxOptions(Options):
    """How the processes are made, on whatever machine the jobs run.

    More modules in `preload` make jobs quicker and the template larger.  After `max_restarts`
    the waiting jobs are given back as `infrastructure`.
    """

    preload: tuple[str, ...] | None = Field(
        default=None,
        description="modules imported once, by the process that every worker is forked from; left"
        " out: what every job needs, and what the trainer and the lowest rung's evaluators ask for",
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
