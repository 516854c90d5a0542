"""What a task gives: a result and the facts of this machine, or a failure of the machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from genesys_engine.engine.jobs.facts import Facts
from genesys_engine.engine.jobs.results import ConfirmResult, DesignResult, Result, VerifyResult
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.sandbox.scratch import ran_out_of_disk

R = TypeVar("R", bound=Result, covariant=True)
T = TypeVar("T")
RETRIES = 3
"""How often what failed through the fault of the machine is done again."""


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
    """Raise `InfrastructureFailure` where the machine is to blame for an outcome."""
    if outcome.status == "infrastructure" or ran_out_of_disk(outcome, scratch, limits):
        raise InfrastructureFailure(outcome.reason)


def patiently(attempt: Callable[[int], T], what: str, hint: str) -> T:
    """Return what `attempt` gives, called with 0 and, where the machine is to blame, again.

    Args:
        what: that is attempted, as the error says it.

    Raises:
        EnvironmentProblem: the machine was to blame for every failure; `hint` says what to do.
    """
    for number in range(RETRIES + 1):
        try:
            return attempt(number)
        except InfrastructureFailure as failure:
            if number == RETRIES:
                raise EnvironmentProblem(f"{what} could not be run: {failure}", hint=hint) from None
    raise AssertionError("the last attempt returns or raises")
