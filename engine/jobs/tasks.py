"""What the loop decides: a design to make, to verify or to confirm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from genesys_engine.engine.common.records import from_json, sparse

DESIGN, VERIFY, CONFIRM = "design", "verify", "confirm"


@dataclass(frozen=True)
class TaskParent:
    """A design that another one is to descend from, as it stood when that was decided."""

    design: int
    fitness: float | None
    change: str


@dataclass(frozen=True)
class OperatorWeights:
    """How much more often than configured to draw each operator, and places of each interface.

    What is missing has a factor of 1.
    """

    operators: Mapping[str, float] = field(default_factory=dict)
    places: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DesignTask:
    """Make a design: the seed of this name, or (None) a variation of the parents.

    Of the run it may see the designs, the verifications and the tasks with smaller numbers than
    these; None (written by an earlier version) for what is not known.  `weights` is what had been
    learned of the operators when it was decided, None where nothing is to be learned.
    """

    kind: ClassVar[str] = DESIGN
    parents: tuple[TaskParent, ...]
    seed: str | None
    known_before: int
    verified_before: int | None = sparse(None)
    applied_before: int | None = sparse(None)
    weights: OperatorWeights | None = sparse(None)  # noqa: RUF009 - a field, as those above

    @property
    def parent_ids(self) -> tuple[int, ...]:
        """The numbers of the parents."""
        return tuple(parent.design for parent in self.parents)


@dataclass(frozen=True)
class VerifyTask:
    """Train and evaluate a design at a rung with one training seed."""

    kind: ClassVar[str] = VERIFY
    design: int
    rung: int
    replicate: int


@dataclass(frozen=True)
class ConfirmTask:
    """Audit a design that was verified up to a rung, before it is named."""

    kind: ClassVar[str] = CONFIRM
    design: int
    rung: int


Task = DesignTask | VerifyTask | ConfirmTask
_KINDS: Mapping[str, type[Task]] = {
    DESIGN: DesignTask,
    VERIFY: VerifyTask,
    CONFIRM: ConfirmTask,
}


def read_task(kind: str, data: object) -> Task:
    """Return the task of a kind that `data` holds; raises `ValueError` where it holds none."""
    return from_json(_KINDS[kind], data)
