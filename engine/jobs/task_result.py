"""What a task gives: a result and the facts of this machine, or a failure of the machine."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from genesys_engine.engine.jobs.facts import Facts
from genesys_engine.engine.jobs.results import ConfirmResult, DesignResult, Result, VerifyResult
from genesys_engine.plugins.api import Limits, Outcome

R = TypeVar("R", bound=Result, covariant=True)
DISK_FULL = ("No space left on device", "Disk quota exceeded")


class InfrastructureFailure(Exception):
    """A task could not be carried out for a reason that is not the design's."""


@dataclass(frozen=True)
class TaskResult(Generic[R]):
    """What a task gave (the same on every machine) and the facts of this machine."""

    result: R
    facts: Facts = field(default_factory=dict)


Done = TaskResult[Result]
Running = (
    Future[TaskResult[DesignResult]]
    | Future[TaskResult[VerifyResult]]
    | Future[TaskResult[ConfirmResult]]
)
"""A task that is under way."""


def refuse_infrastructure(outcome: Outcome, scratch: Path, limits: Limits) -> None:
    """Raise `InfrastructureFailure` where the machine is to blame for an outcome.

    A job that says that the disk is full is believed only where the disk has no room for the
    largest file that it might write.
    """
    blamed = any(sign in outcome.reason for sign in DISK_FULL)
    if outcome.status == "infrastructure" or (
        blamed and shutil.disk_usage(scratch).free < limits.file_bytes
    ):
        raise InfrastructureFailure(outcome.reason)
